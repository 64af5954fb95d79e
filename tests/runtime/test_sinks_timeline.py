"""Times of results in a video, where the source's clock goes on and where it is set anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from clip_maker import numbered, read_back
from stand_ins import PERSON

from edgeseg.runtime.sinks import Video
from edgeseg.runtime.sinks.timeline import Timeline
from edgeseg.types import Frame, Result

S = 1_000_000_000


def frame(pts_s: float | None, captured_s: float = 0.0, session: int = 0, number: int = 0) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), number, round(captured_s * S), pts_s, session=session)


def ticks(frames: list[Frame], live: bool, fps: float = 25.0) -> list[int]:
    timeline = Timeline(1000, fps, live)
    return [timeline.tick(one) for one in frames]


def test_the_source_s_own_times_from_the_first_frame_on() -> None:
    assert ticks([frame(5.0), frame(5.04), frame(9.5)], live=False) == [0, 40, 4500]


def test_a_camera_that_was_lost_goes_on_where_it_was_away() -> None:
    # Back after 3 s, and its timestamps begin anew, as an RTSP server's do; the second time they jump ahead.
    back = [frame(100.0, 7.0), frame(100.5, 7.5), frame(0.0, 10.5, 1), frame(0.2, 10.7, 1), frame(9999.0, 12.7, 2)]
    assert ticks(back, live=True) == [0, 500, 3500, 3700, 5700]


def test_a_live_clock_that_is_set_in_mid_stream_is_carried_on() -> None:
    assert ticks([frame(3.0, 1.0), frame(90_000.0, 1.1), frame(90_000.1, 1.2)], live=True) == [0, 100, 200]
    # Of a file that is its own affair: it is read faster than it plays.
    assert ticks([frame(3.0, 1.0), frame(60.0, 1.1)], live=False) == [0, 57_000]


def test_late_arrivals_do_not_move_a_live_source_s_times() -> None:
    late = [frame(1.0, 1.0), frame(1.04, 3.5), frame(1.08, 3.5)]
    assert ticks(late, live=True) == [0, 40, 80]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_of_a_camera_that_was_lost(tmp_path: Path, suffix: str) -> None:
    sink = Video(tmp_path / f"out.{suffix}", 10.0, live=True)
    stamps = [(50.0, 1.0, 0), (50.1, 1.1, 0), (0.0, 3.0, 1), (0.1, 3.1, 1)]
    for number, stamp in enumerate(stamps):
        picture = numbered(number)
        one = dataclasses.replace(frame(*stamp, number=number), image=picture)
        sink.write(Result(np.zeros_like(picture[..., 0]), None, None, one, PERSON))
    sink.close()
    assert read_back(tmp_path / f"out.{suffix}")[1] == pytest.approx([0.0, 0.1, 2.0, 2.1], abs=1e-3)
