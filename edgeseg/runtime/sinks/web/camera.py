"""The sink behind the page: it keeps the newest result of one source, and draws nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeseg.runtime.sinks.web.figures import Figures
from edgeseg.runtime.stats import Stats
from edgeseg.types import Frame, Result

LONGEST_WAIT_S = 1.0


class Camera:
    """Holds one result, the newest: who is slow misses those between, and a page nobody looks at costs nothing.

    Args:
        name: the source, as the page names it.
        stats: the counts of its pipeline, for the charts.
        live: whether its frames have ages.
        fps: the source's rate, for one without timestamps.
        paced: take results no faster than the source's own times, so that a file is seen at its speed.
        told: called after each result, with this camera, by the thread that writes; it may raise.

    Attributes:
        newest: its number, from 1, and the result; None before the first.
        ended: nothing more comes.
    """

    def __init__(
        self,
        name: str,
        stats: Stats,
        live: bool,
        fps: float | None,
        paced: bool,
        told: Callable[[Camera], object],
    ) -> None:
        self.name, self.live = name, live
        self.newest: tuple[int, Result] | None = None
        self.ended = False
        self.figures = Figures(stats)
        self._fps, self._paced, self._told = fps, paced, told
        self._count = 0
        self._started: tuple[float, float] | None = None

    def write(self, result: Result) -> None:
        """Take one result. OutputError once the page has broken down."""
        if self._paced:
            self._wait_for(result.frame)
        self.figures.note((time.monotonic_ns() - result.frame.captured_ns) / 1e6 if self.live else None)
        self._count += 1
        self.newest = self._count, result
        self._told(self)

    def close(self) -> None:
        """Nothing more comes; the page keeps the last picture."""
        self.ended = True

    def _wait_for(self, frame: Frame) -> None:
        own_s = frame.pts_s if frame.pts_s is not None else frame.number / self._fps if self._fps else None
        if own_s is None:
            return
        now = time.monotonic()
        started_s, first_s = self._started or (now, own_s)
        # A hole in a file is not sat out, and a signal is not kept waiting: what comes later counts from here.
        wait_s = min(LONGEST_WAIT_S, max(0.0, started_s + own_s - first_s - now))
        self._started = (now + wait_s, own_s) if wait_s == LONGEST_WAIT_S else (started_s, first_s)
        time.sleep(wait_s)
