"""Cameras: what is said when there is none, really; and the reading, on a stand-in for OpenCV's capture."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import BackendError, InputError
from edgeseg.runtime.sources import StreamOptions, camera, open_source
from edgeseg.runtime.sources.resilient import Patience

ABSENT = 97


@pytest.mark.parametrize("spec", [str(ABSENT), f"/dev/video{ABSENT}"])
def test_a_missing_camera_names_those_that_are_there(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no such camera") as caught:
        open_source(spec)
    assert f"/dev/video{ABSENT}" in str(caught.value)
    assert all(path in str(caught.value) for path in camera.found())
    assert capfd.readouterr().err == ""


def test_a_device_that_is_no_camera(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="cannot open the camera: /dev/null"):
        open_source("/dev/null")
    assert capfd.readouterr().err == ""


def test_without_opencv_both_ways_to_it_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendError, match=r"edgeseg\[cv\]") as caught:
        open_source("/dev/null")
    assert "JetPack" in str(caught.value)


class ToyCapture:
    """What cv2.VideoCapture gives for a working camera of 640x480; can fail at a frame.

    `stamps_ms`: of its driver's buffers, from the first; 0 after them, as of a driver that stamps none.
    """

    def __init__(self, fails_at: int = -1, gray: bool = False, stamps_ms: tuple[float, ...] = ()) -> None:
        self.stamps_ms = stamps_ms
        self.fails_at, self.gray, self.grabbed = fails_at, gray, 0
        self.grabbed_ns: list[int] = []
        self.retrieved_ns: list[int] = []
        self.settings: dict[int, float] = {}
        self.released = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC and 0 < self.grabbed <= len(self.stamps_ms):
            return self.stamps_ms[self.grabbed - 1]
        return 30.0 if key == cv2.CAP_PROP_FPS else 0.0

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def grab(self) -> bool:
        if self.grabbed == self.fails_at:
            return False
        self.grabbed += 1
        self.grabbed_ns.append(time.monotonic_ns())
        return True

    def retrieve(self) -> tuple[bool, Any]:
        self.retrieved_ns.append(time.monotonic_ns())
        return True, np.full((480, 640) if self.gray else (480, 640, 3), self.grabbed, np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[ToyCapture], str]:
    """Make OpenCV open this capture; returns the device to name."""

    def attached(capture: ToyCapture) -> str:
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
        monkeypatch.setattr(camera, "_check_device", lambda *_: None)
        return "0"

    return attached


def test_frames_are_stamped_when_they_are_grabbed(attach: Callable[[ToyCapture], str]) -> None:
    capture = ToyCapture()
    with open_source(attach(capture), max_frames=4) as source:
        assert (source.name, source.live, source.fps, source.unrelated) == ("0", True, 30.0, False)
        frames = list(source)
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 3, 4]
    assert all(frame.pts_s is None for frame in frames)
    # Decoding takes its time, and that is part of a frame's age.
    for frame, grabbed_ns, retrieved_ns in zip(frames, capture.grabbed_ns, capture.retrieved_ns, strict=False):
        assert grabbed_ns <= frame.captured_ns <= retrieved_ns
    assert capture.settings[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert capture.released == 1


@pytest.mark.parametrize(
    "stamps_ms, pts_s",
    [
        ((81_000.5, 81_033.75, 81_067.0), [81.0005, 81.03375, 81.067]),
        # A clock that stands still, or runs back, is none: also not later.
        ((81_000.0, 81_000.0, 81_067.0), [81.0, None, None]),
        ((81_000.0, 80_000.0, 81_067.0), [81.0, None, None]),
        ((-1.0, 5.0, 6.0), [None, None, None]),
        ((0.0, 5.0, 6.0), [None, None, None]),
    ],
)
def test_frames_have_the_timestamps_of_the_driver_s_buffers(
    stamps_ms: tuple[float, ...], pts_s: list[float | None], attach: Callable[[ToyCapture], str]
) -> None:
    with open_source(attach(ToyCapture(stamps_ms=stamps_ms)), max_frames=3) as source:
        frames = list(source)
    assert [frame.pts_s for frame in frames] == pts_s
    assert [frame.number for frame in frames] == [0, 1, 2] and all(frame.captured_ns for frame in frames)


def test_a_gray_camera_gives_bgr(attach: Callable[[ToyCapture], str]) -> None:
    (frame,) = open_source(attach(ToyCapture(gray=True)), max_frames=1)
    assert frame.image.shape == (480, 640, 3)


def options(open_timeout_s: float = 60.0, stall_timeout_s: float = 60.0) -> StreamOptions:
    return StreamOptions(patience=Patience(open_timeout_s, stall_timeout_s, retry_s=0.1))


def test_a_camera_that_stops_is_opened_again(
    attach: Callable[[ToyCapture], str], capfd: pytest.CaptureFixture[str]
) -> None:
    captures = [ToyCapture(fails_at=3), ToyCapture(fails_at=0), ToyCapture()]
    device = attach(captures[0])
    left = list(captures)
    cv2.VideoCapture = lambda *_: left.pop(0)  # type: ignore[assignment,misc] # undone by `attach`
    with open_source(device, max_frames=5, options=options()) as source:
        frames = list(source)
    assert [frame.session for frame in frames] == [0, 0, 0, 1, 1] and source.broken is None
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [capture.released for capture in captures] == [1, 1, 1]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2 and told[0].startswith("warning: 0 is lost (the camera gave no picture: 0)"), told


def test_a_camera_that_hangs_is_noticed(attach: Callable[[ToyCapture], str]) -> None:
    hung, good = ToyCapture(), ToyCapture()
    wake = threading.Event()

    def hang() -> bool:
        hung.grabbed += 1
        return hung.grabbed < 3 or wake.wait(120)

    hung.grab = hang  # type: ignore[method-assign]
    device = attach(hung)
    left = [hung]
    cv2.VideoCapture = lambda *_: left.pop() if left else good  # type: ignore[assignment,misc] # undone by `attach`
    with open_source(device, max_frames=4, options=options(stall_timeout_s=0.5)) as source:
        sessions = [frame.session for frame in source]
    # A machine that pauses looks like a camera that hangs, also later.
    assert sessions[0] == 0 and sessions[-1] >= 1 and sessions == sorted(sessions)
    assert hung.released == 0, "its driver has the thread"
    wake.set()
    until(lambda: hung.released == 1)


def test_one_that_never_gives_a_picture_is_an_error(attach: Callable[[ToyCapture], str]) -> None:
    capture = ToyCapture(fails_at=0)
    with pytest.raises(InputError, match=r"cannot be opened: 0 \(the camera gave no picture: 0, for 0.5 s\)"):
        open_source(attach(capture), options=options(open_timeout_s=0.5))
    until(lambda: capture.released > 1)


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true() and time.monotonic() < ends:
        time.sleep(0.01)
    assert true()
