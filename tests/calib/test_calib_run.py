"""Calibration on a model whose ranges can be worked out by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from calib_helpers import SIZE, write_model

from edgeseg.calib import calibrate as calibrate_module
from edgeseg.calib.calibrate import calibrate, wanted_tensors
from edgeseg.calib.frames import FrameSet
from edgeseg.calib.model_file import read_model
from edgeseg.calib.ranges import Ranges
from edgeseg.calib.tap import Tap, tap
from edgeseg.errors import InputError, ModelError, OutputError, UsageError


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Two flat pictures, gray 40 and gray 200."""
    (tmp_path / "frames").mkdir()
    for value in (40, 200):
        cv2.imwrite(str(tmp_path / "frames" / f"{value}.png"), np.full((SIZE, SIZE, 3), value, np.uint8))
    return tmp_path / "frames"


def test_ranges_and_their_table(tmp_path: Path, folder: Path) -> None:
    model = write_model(tmp_path / "model.onnx", gain=-1.0)
    seen: list[int] = []
    ranges = calibrate(model, folder, "minmax", tmp_path / "ranges.json", seen.append)
    expected = {"planes": (40, 200), "small": (-200, -40), "fused": (-200, 200)}
    assert set(ranges.tensors) == set(expected) == set(wanted_tensors(read_model(model)[0]))
    for name, pair in expected.items():
        assert ranges.tensors[name] == pytest.approx(pair, rel=1e-5)
    assert seen == [1, 2]
    assert Ranges.load(tmp_path / "ranges.json") == ranges
    ranges.check(model)
    flat = [np.full((1, SIZE, SIZE, 3), value, np.uint8) for value in (200, 40)]
    assert ranges.frames["sha256"] == [hashlib.sha256(picture.tobytes()).hexdigest() for picture in flat]


@pytest.mark.parametrize("method", ["minmax", "moving-average"])
def test_tiles_are_looked_at_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A picture of 40x40 in answers of 8x8: 25 tiles, whose tensors never lie in memory all at once."""
    model = write_model(tmp_path / "model.onnx", output_height=8, output_width=8, offset=(4, 4))
    (tmp_path / "frames").mkdir()
    rng, sizes = np.random.default_rng(0), list[int]()
    pictures = [rng.integers(low, high, (40, 40, 3)).astype(np.uint8) for low, high in ((50, 90), (20, 200))]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), picture)

    def watched(*args: Any) -> Tap:
        run = tap(*args)
        return lambda image: (sizes.append(len(image)), run(image))[1]

    monkeypatch.setattr(calibrate_module, "tap", watched)
    ranges = calibrate(model, tmp_path / "frames", method)
    assert sizes == [1] * 50 and ranges.frames["count"] == 2
    (low, high), (lowest, highest) = ((picture.min(), picture.max()) for picture in pictures)
    expected = (lowest, highest) if method == "minmax" else (0.9 * low + 0.1 * lowest, 0.9 * high + 0.1 * highest)
    assert ranges.tensors["planes"] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_other_methods_stay_inside_the_extremes(tmp_path: Path, folder: Path, method: str) -> None:
    ranges = calibrate(write_model(tmp_path / "model.onnx"), FrameSet(folder), method)
    for low, high in ranges.tensors.values():
        assert 0 < low <= 40.1 and 150 < high <= 200.1


def test_another_model_makes_the_table_foreign(tmp_path: Path, folder: Path) -> None:
    ranges = calibrate(write_model(tmp_path / "model.onnx"), folder, "minmax")
    with pytest.raises(ModelError, match="stale or foreign"):
        ranges.check(write_model(tmp_path / "other.onnx", gain=2.0))


def test_what_cannot_be_calibrated(tmp_path: Path, folder: Path, make_tiny_model) -> None:  # type: ignore[no-untyped-def]
    model = write_model(tmp_path / "model.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        calibrate(model, tmp_path / "empty")
    with pytest.raises(UsageError, match="'entropy'"):
        calibrate(model, folder, "entropie")
    with pytest.raises(ModelError, match="int8"):
        calibrate(write_model(tmp_path / "int8.onnx", precision="int8"), folder)
    with pytest.raises(ModelError, match="no convolutions"):
        calibrate(make_tiny_model(tmp_path / "tiny.onnx"), folder)
    with pytest.raises(InputError, match=r"gone\.onnx"):
        calibrate(tmp_path / "gone.onnx", folder)
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        calibrate(tmp_path / "cut.onnx", folder)
    with pytest.raises(ModelError, match="not finite"):
        calibrate(write_model(tmp_path / "inf.onnx", gain=float("inf")), folder, "minmax")
    with pytest.raises(OutputError, match="missing"):
        calibrate(model, folder, "minmax", tmp_path / "missing" / "ranges.json")
