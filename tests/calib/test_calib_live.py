"""Calibration from sources that run on: which frames are taken, how it ends; none are drawn unless asked for."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from calib_helpers import SIZE, write_model

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.live import LiveFrames
from edgeseg.calib.ranges import Ranges
from edgeseg.cli.main import main
from edgeseg.errors import InputError, UsageError
from edgeseg.runtime import sources
from edgeseg.runtime.sources import FrameSource, open_source
from edgeseg.types import Frame


class Counting(FrameSource):
    """A camera whose k-th frame is gray 2 * k; it may end or break off after some, or send a signal to its process."""

    live = True

    def __init__(self, frames: int | None = None, broken: str | None = None, signal_at: int = -1) -> None:
        super().__init__("counting")
        self.frames, self.breaks, self.signal_at = frames, broken, signal_at
        self.closed = 0

    def _read(self) -> Frame | None:
        if self._count == self.frames:
            self.broken = self.breaks
            return None
        if self._count == self.signal_at:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        image = np.full((SIZE, SIZE, 3), 2 * self._count, np.uint8)
        return Frame(image, self._count, time.monotonic_ns(), source=self.name)

    def _release(self) -> None:
        self.closed += 1


@pytest.fixture()
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


def run(model: Path, spec: str, *more: str) -> int:
    """`edgeseg calibrate` into ranges.json beside the model."""
    out = str(model.with_name("ranges.json"))
    return main(["calibrate", str(model), "--frames", spec, "-o", out, *more])


def test_every_stride_th_frame_until_there_are_enough(model: Path) -> None:
    source = Counting()
    ranges = calibrate(model, LiveFrames(source, stride=5, count=4), "minmax")
    assert ranges.tensors["planes"] == (0, 30)
    assert (source.closed, source._count) == (1, 16), "frames 0, 5, 10 and 15, and none read for nothing"
    about = {"source": "counting", "split": None, "stride": 5, "seed": None, "live": True, "count": 4}
    assert {key: ranges.frames[key] for key in about} == about and "drawn" not in ranges.frames
    # The same pictures from files have the same hashes: what the fingerprint holds does not depend on the way.
    folder = model.with_name("frames")
    folder.mkdir()
    for gray in (0, 10, 20, 30):
        cv2.imwrite(str(folder / f"{gray:02}.png"), np.full((SIZE, SIZE, 3), gray, np.uint8))
    again = calibrate(model, folder, "minmax")
    assert again.frames["sha256"] == ranges.frames["sha256"]
    assert again.tensors == ranges.tensors and again.fingerprint != ranges.fingerprint


def test_a_source_that_breaks_off(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranges = calibrate(model, LiveFrames(Counting(3, "the plug came out")))
    assert ranges.frames["count"] == 3
    assert "warning: counting broke off, 3 of 128 pictures were taken: the plug came out" in capsys.readouterr().err
    calibrate(model, LiveFrames(Counting(3)))
    assert capsys.readouterr().err == ""
    nothing = Counting(0, "the plug came out")
    with pytest.raises(InputError, match=r"gave no frame.*counting \(the plug came out\)"):
        calibrate(model, LiveFrames(nothing))
    assert nothing.closed == 1
    with pytest.raises(UsageError, match="stride"):
        LiveFrames(Counting(), stride=0)


def test_drawn_pictures_are_never_accepted_in_silence(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="drawn pictures"):
        LiveFrames(open_source("synthetic:64x48@200"))
    assert run(model, "synthetic:64x48@200") == 2
    assert "drawn" in capsys.readouterr().err
    for spec in ("synthetic:64x48@200", "synthetic:64x48"):
        assert run(model, spec, "--drawn", "--count", "8", "--stride", "2") == 0
        assert "warning: the ranges are those of drawn pictures" in capsys.readouterr().err
        table = Ranges.load(model.with_name("ranges.json"))
        assert table.frames["drawn"] is True and len(table.frames["sha256"]) == 8
    words = ["quantize", str(model), "--ranges", str(model.with_name("ranges.json")), "-o", str(model) + ".int8.onnx"]
    assert main(words) == 0
    assert "warning: the ranges are those of drawn pictures" in capsys.readouterr().err


def test_a_signal_ends_it_with_what_was_seen(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sources, "open_source", lambda word: Counting(signal_at=6))
    assert run(model, "7") == 0
    assert "warning: stopped by a signal: the ranges are of 6 pictures" in capsys.readouterr().err
    assert Ranges.load(model.with_name("ranges.json")).frames["count"] == 6
    model.with_name("ranges.json").unlink()
    monkeypatch.setattr(sources, "open_source", lambda word: Counting(signal_at=0))
    assert run(model, "7") == 0
    assert "stopped by a signal before the end" in capsys.readouterr().err
    assert not model.with_name("ranges.json").exists()


def test_a_signal_wakes_a_wait_for_the_next_frame(model: Path) -> None:
    started = time.monotonic()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert run(model, "synthetic:64x48@0.01", "--drawn") == 0
    assert time.monotonic() - started < 20, "frames are 100 s apart"
    assert json.loads(model.with_name("ranges.json").read_text())["frames"]["count"] == 1


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["97"], 3, "no such camera"),
        (["gone.mp4"], 3, "gone.mp4"),
        (["7", "--split", "train"], 2, "--split"),
        (["7", "--seed", "1"], 2, "--seed"),
        (["synthetic:big"], 2, "synthetic:big"),
        (["demo", "--drawn"], 2, "--drawn"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_sources(
    words: list[str],
    code: int,
    told: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    camera = Counting()
    if words[0] == "7":
        monkeypatch.setattr(sources, "open_source", lambda word: camera)
    assert run(model, *words) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and told in err
    assert not model.with_name("ranges.json").exists()
    assert camera.closed == (words[0] == "7")


def test_the_demo_clip_and_pictures_that_are_all_the_same(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "demo", "--count", "3") == 0
    assert capsys.readouterr().err == ""
    folder = model.with_name("frames")
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.full((20, 20, 3), 90, np.uint8))
    assert run(model, str(folder)) == 0
    assert "warning: all 2 pictures are the same one" in capsys.readouterr().err
