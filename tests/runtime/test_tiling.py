"""Tiles cover frames of any size, see mirrored borders beyond them, and a classic U-Net answers for every pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.manifest import Manifest
from edgeseg.runtime.tiling import Tiler
from edgeseg.types import ClassInfo

CLASSES = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "membrane", (0, 200, 0)))
MANIFEST = Manifest("toy", CLASSES, 20, 24, output_height=8, output_width=10, offset=(6, 7))
SIZES = [(8, 10), (9, 11), (30, 47), (16, 20), (3, 40), (1, 1), (2, 5)]


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_the_middles_of_the_tiles_are_the_frame(size: tuple[int, int]) -> None:
    image = noise(size)
    tiles, tiling = Tiler(MANIFEST)(image)
    assert tiles.shape[1:] == (20, 24, 3)
    assert np.array_equal(tiling.map_of(tiles[:, 6:14, 7:17, 0]), image[..., 0])
    assert len(tiles) == -(-size[0] // 8) * -(-size[1] // 10)


@pytest.mark.parametrize("size", [(8, 10), (30, 47), (12, 9)])
def test_beyond_the_border_the_frame_is_mirrored(size: tuple[int, int]) -> None:
    image = noise(size)
    wide = np.pad(image, ((6, 20), (7, 24), (0, 0)), mode="reflect")
    tiles, tiling = Tiler(MANIFEST)(image)
    for (row, column), tile in zip(tiling.places, tiles, strict=True):
        assert np.array_equal(tile, wide[row : row + 20, column : column + 24])


def test_a_u_net_answers_for_the_whole_frame(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch, of the extra train, is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript, of the extra export, is not installed")
    from edgeseg.export.from_checkpoint import load_for_export
    from edgeseg.export.to_onnx import export_onnx
    from edgeseg.models import build
    from edgeseg.runtime.segmenter import open_segmenter

    torch.manual_seed(2)
    arguments = {"width": 4, "norm": True}
    model = build("unet", classes=3, **arguments).eval()
    body = {
        "format": 1,
        "name": "cells",
        "model": {"name": "unet", "args": arguments},
        "classes": ["a", "b", "c"],
        "size": [220, 204],
        "fit": "stretch",
        "ema": model.state_dict(),
    }
    torch.save(body, tmp_path / "last.pt")
    network, manifest = load_for_export(tmp_path / "last.pt")
    assert (manifest.output_height, manifest.output_width, manifest.offset) == (36, 20, (92, 92))
    export_onnx(network, manifest, tmp_path / "model.onnx")
    image = noise((50, 61))
    with open_segmenter(tmp_path / "model.onnx", "onnxruntime") as segmenter:
        label_map = segmenter(image).label_map
    assert label_map.shape == (50, 61)
    wide = np.pad(image, ((92, 92), (92, 92), (0, 0)), mode="reflect")
    for row, column in ((0, 0), (0, 20), (14, 41)):
        rgb = torch.from_numpy(wide[row : row + 220, column : column + 204, ::-1].copy()).permute(2, 0, 1)[None].float()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
        with torch.no_grad():
            wanted = model((rgb - mean) / std)[0].argmax(0).numpy()
        found = label_map[row : row + 36, column : column + 20]
        # What lies in the next tile's answer too is not compared.
        rows = 14 if row == 0 else 36
        assert (found[:rows] == wanted[:rows]).mean() > 0.99
