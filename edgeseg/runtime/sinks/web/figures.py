"""What the charts of the page show: how one stream goes, second by second."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from edgeseg.runtime.stats import Stats

EVERY_S = 1.0
HISTORY_S = 120


class Figures:
    """One row a second of a stream, and the rows of the last two minutes.

    Args:
        stats: the counts of its pipeline.
    """

    def __init__(self, stats: Stats) -> None:
        self.history: deque[dict[str, Any]] = deque(maxlen=round(HISTORY_S / EVERY_S))
        self._stats = stats
        self._ages: list[float] = []
        self._seen = stats.counts()
        self._seen_s = self._last_s = time.monotonic()

    def note(self, age_ms: float | None) -> None:
        """A result came, so old where its source is live. From the thread that writes."""
        self._last_s = time.monotonic()
        if age_ms is not None:
            self._ages.append(age_ms)

    def sample(self) -> dict[str, Any]:
        """A row since the last one, which also goes into `history`, fit for JSON.

        t_s (monotonic), fps, age_ms (median of the frame ages; None where there were none), age_max_ms, dropped (in
        this time), quiet_s (since the last result), and the counts frames_in, frames_out and dropped_in_all.
        """
        now, ages = time.monotonic(), self._ages
        self._ages = []
        counts, before = self._stats.counts(), self._seen
        passed_s = max(now - self._seen_s, 1e-3)
        self._seen, self._seen_s = counts, now
        row = {
            "t_s": round(now, 2),
            "fps": round((counts["frames_out"] - before["frames_out"]) / passed_s, 2),
            "age_ms": round(float(np.median(ages)), 2) if ages else None,
            "age_max_ms": round(max(ages), 2) if ages else None,
            "dropped": counts["dropped"] - before["dropped"],
            "quiet_s": round(now - self._last_s, 1),
            "frames_in": counts["frames_in"],
            "frames_out": counts["frames_out"],
            "dropped_in_all": counts["dropped"],
        }
        self.history.append(row)
        return row
