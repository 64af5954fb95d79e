"""A Mask R-CNN's file: back into torch, and in int8, on both runtimes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from export_helpers import Exported

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.export import graph as g
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import CHECKPOINT_FORMAT, load_for_export
from edgeseg.export.quantize import Quantized, quantize
from edgeseg.export.verify import bisect, verify
from edgeseg.runtime.backends import load_backend

HEIGHT, WIDTH = 128, 160


@pytest.fixture(scope="module")
def file(instances: Exported) -> Path:
    """The shared network's file, in fp32."""
    return instances.path


@pytest.fixture(scope="module")
def int8(file: Path) -> tuple[Path, Quantized]:
    """The int8 file, and what became of its nodes."""
    frames = file.parent / "frames"
    frames.mkdir()
    for number, picture in enumerate(sample_pictures(HEIGHT, WIDTH)):
        cv2.imwrite(str(frames / f"{number}.png"), picture)
    path = file.with_name("int8.onnx")
    return path, quantize(file, calibrate(file, frames), path)


def test_back_into_torch(instances: Exported) -> None:
    back, manifest = load_for_export(instances.path)
    assert manifest.task == "instance" and "parent_sha256" in manifest.origin
    own = instances.model.state_dict()
    for key, value in back.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, own[key], rtol=1e-5, atol=1e-6, msg=key)


def test_every_layer_is_int8(int8: tuple[Path, Quantized], instances: Exported) -> None:
    path, made = int8
    assert not made.kept_float
    # Both heads' layers and the convolution that all maps share are among them.
    assert {"box_head.fc6.gemm", "box_predictor.bbox_pred.gemm", "mask_head.0", "head.conv.0.0_5"} <= set(made.int8)
    weights = g.weights(read_model(path)[0].graph)
    assert g.array(weights["box_head.fc6.weight.int8"]).dtype == np.int8
    # Its scale is one a row, as a linear layer's output channels are.
    assert g.array(weights["box_head.fc6.weight.scale"]).shape == (instances.manifest.architecture["args"]["hidden"],)
    assert path.stat().st_size < 0.65 * instances.path.stat().st_size


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_int8_finds_nearly_what_float_finds(int8: tuple[Path, Quantized], file: Path, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    picture = sample_pictures(HEIGHT, WIDTH)[3][None]
    with load_backend(file, "onnxruntime") as exact, load_backend(int8[0], backend) as rounded:
        wanted, given = ({k: v.copy() for k, v in b.infer({"image": picture}).items()} for b in (exact, rounded))
    np.testing.assert_allclose(given["scores"], wanted["scores"], atol=0.02)
    # Scores this close change places; the boxes are the same ones.
    distance = np.abs(given["boxes"][0][:, None] - wanted["boxes"][0][None]).max(-1)
    assert np.mean(distance.min(0) < 3.0) > 0.6
    assert np.abs(given["masks"].mean() - wanted["masks"].mean()) < 0.02


def test_a_checkpoint_is_verified_against_its_file(instances: Exported, tmp_path: Path) -> None:
    body = {
        "format": CHECKPOINT_FORMAT,
        "name": "toy",
        "model": instances.manifest.architecture,
        "ema": instances.model.state_dict(),
        "classes": ["background", "a", "b"],
        "size": [HEIGHT, WIDTH],
        "fit": "stretch",
    }
    torch.save(body, tmp_path / "last.pt")
    pictures = [(picture, None) for picture in sample_pictures(HEIGHT, WIDTH)[3:]]
    report = verify(tmp_path / "last.pt", instances.path, pictures)
    assert report.reference.runtime == "torch" and report.agreement > 0.9
    assert all(stage.max_error is None for stage in report.stages)
    assert bisect(tmp_path / "last.pt", instances.path, pictures[:1])[0] is None
