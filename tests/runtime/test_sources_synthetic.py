"""The camera without hardware: its rate, its timestamps, and that it ends at once when told."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.runtime.sources import open_source


def test_unpaced_waits_like_a_file() -> None:
    with open_source("synthetic:64x48", max_frames=50) as source:
        assert (source.live, source.unrelated, source.broken) == (False, False, None)
        frames = list(source)
    assert [frame.number for frame in frames] == list(range(50))
    assert all(frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 30 for k in range(50)])


@pytest.mark.parametrize("size", ["1x1", "8x8", "641x359", "90x1600"])
def test_any_size(size: str) -> None:
    width, height = map(int, size.split("x"))
    (frame,) = open_source(f"synthetic:{size}", max_frames=1)
    assert frame.image.shape == (height, width, 3)


def test_something_moves_and_nobody_can_spoil_the_shared_pictures() -> None:
    frames = list(open_source("synthetic:64x48", max_frames=6))
    assert all((one.image != two.image).any() for one, two in zip(frames, frames[1:], strict=False))
    with pytest.raises(ValueError, match="read-only"):
        frames[0].image[0, 0] = 0


def test_handing_out_a_frame_draws_nothing() -> None:
    frames = list(open_source("synthetic:1280x720", max_frames=60))
    assert len({frame.image.ctypes.data for frame in frames}) <= 24


def test_a_paced_source_keeps_to_its_schedule() -> None:
    with open_source("synthetic:64x48@100", max_frames=30) as source:
        assert (source.live, source.fps) == (True, 100.0)
        frames, arrived = [], []
        for frame in source:
            arrived.append(time.monotonic_ns())
            frames.append(frame)
    first_ns = frames[0].captured_ns
    ticks = [(frame.captured_ns - first_ns) / 1e7 for frame in frames]
    # Each moment is a tick of the schedule exactly, so nothing adds up; a loaded machine may miss some.
    assert ticks == pytest.approx([round(tick) for tick in ticks], abs=1e-6)
    assert all(later > sooner for sooner, later in zip(ticks, ticks[1:], strict=False))
    assert [frame.pts_s for frame in frames] == pytest.approx([tick / 100 for tick in ticks])
    assert [frame.number for frame in frames] == list(range(30))
    assert all(now >= frame.captured_ns for now, frame in zip(arrived, frames, strict=True))


def test_a_slow_reader_gets_no_backlog() -> None:
    source = open_source("synthetic:64x48@50", max_frames=4)
    times_s = []
    for frame in source:
        times_s.append(frame.pts_s or 0.0)
        time.sleep(0.11)  # more than five ticks
    # With a backlog they would be 0, 0.02, 0.04, 0.06: older and older pictures.
    assert all(seconds >= 0.11 * place - 0.02 for place, seconds in enumerate(times_s))


def test_close_wakes_a_wait_at_once() -> None:
    source = open_source("synthetic:8x8@0.01")
    numbers: list[int] = []
    reader = threading.Thread(target=lambda: numbers.extend(frame.number for frame in source))
    reader.start()
    deadline = time.monotonic() + 60
    while not numbers and time.monotonic() < deadline:
        time.sleep(0.001)
    source.close()
    reader.join(50)
    assert not reader.is_alive(), "it waits for its next frame, which comes after 100 s"
    assert numbers == [0]


@pytest.mark.parametrize(
    "spec",
    ["synthetic:", "synthetic:640", "synthetic:640x480@", "synthetic:640x480@-5", "synthetic:640x480@fast",
     "synthetic:0x480", "synthetic:640x99999", "synthetic:640x480@0", "synthetic:640x480@100000", "synthetic:640*480"],
)  # fmt: skip
def test_a_bad_specification_shows_what_is_right(spec: str) -> None:
    with pytest.raises(UsageError, match=r"synthetic") as caught:
        open_source(spec)
    assert caught.value.todo
