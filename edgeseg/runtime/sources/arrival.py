"""When a picture of a stream was taken, by our clock: its own timestamp, set right by the quickest arrivals of late.

Arrival alone lies where pictures queued up on the way, in a socket for one: they come in a burst and all look new. The
stream's own clock does not know about queues, but not our time either. The two differ by an offset plus each picture's
delay; the least delay seen is taken for none. Clocks drift, so only the last half minute counts.
"""

from __future__ import annotations

WINDOW_NS = 15_000_000_000  # this window and the one before it count
JUMP_NS = 10_000_000_000  # an offset that changes by more: the stream began to count anew


class ArrivalClock:
    """One connection's. Stamps never lie after the arrival."""

    def __init__(self) -> None:
        self._began_ns = 0
        self._least: int | None = None  # offset, nanoseconds, in this window
        self._before: int | None = None  # in the one before

    def stamp(self, arrived_ns: int, pts_s: float | None) -> int:
        """`time.monotonic_ns()` of the moment at which a picture was taken.

        Args:
            arrived_ns: when it arrived.
            pts_s: its own timestamp, seconds; without one the arrival is all there is.
        """
        if pts_s is None:
            return arrived_ns
        own_ns = round(pts_s * 1e9)
        offset = arrived_ns - own_ns
        known = [least for least in (self._least, self._before) if least is not None]
        if not known or abs(offset - min(known)) > JUMP_NS:
            self._began_ns, self._least, self._before = arrived_ns, offset, None
            return arrived_ns
        if arrived_ns - self._began_ns > WINDOW_NS:
            self._began_ns, self._before, self._least = arrived_ns, self._least, None
        self._least = offset if self._least is None else min(self._least, offset)
        return own_ns + (self._least if self._before is None else min(self._least, self._before))
