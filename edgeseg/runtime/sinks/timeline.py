"""At which time each result stands in a video: the source's own clock, carried on where it was set anew."""

from __future__ import annotations

from edgeseg.types import Frame

# A live source whose clock and ours part by more between two frames has set its clock anew.
JUMP_S = 10.0


class Timeline:
    """Times of frames in ticks, counted from the first frame; each lies after the one before.

    A frame stands at its source's timestamp; where it has none, at the moment of its capture for a live source, and at
    `fps` otherwise. A camera that was lost and came back counts from anywhere: its first frame then stands as long
    after the last one as it was captured later, and the others follow it.

    Args:
        ticks: in a second.
        fps: of frames without timestamps.
        live: whether moments of capture are times of frames.
    """

    def __init__(self, ticks: int, fps: float, live: bool) -> None:
        self._ticks, self._fps, self._live = ticks, fps, live
        self._shift_s = 0.0
        self._before: tuple[float, int, int] | None = None  # own seconds, captured_ns, session
        self._last = -1

    def tick(self, frame: Frame) -> int:
        """The next frame's time."""
        own_s = self._own_seconds(frame)
        if self._before is None:
            self._shift_s = -own_s
        else:
            before_s, captured_ns, session = self._before
            expected_s = before_s + (frame.captured_ns - captured_ns) / 1e9
            if frame.session != session or (self._live and abs(own_s - expected_s) > JUMP_S):
                self._shift_s += expected_s - own_s
        self._before = (own_s, frame.captured_ns, frame.session)
        self._last = max(round((own_s + self._shift_s) * self._ticks), self._last + 1)
        return self._last

    def _own_seconds(self, frame: Frame) -> float:
        if frame.pts_s is not None:
            return frame.pts_s
        return frame.captured_ns / 1e9 if self._live else frame.number / self._fps
