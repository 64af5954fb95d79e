"""A sink that cannot hurt the others: on a thread of its own, behind a few places, cut off when it fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from edgeseg.errors import OutputError
from edgeseg.runtime import notices
from edgeseg.runtime.sinks.base import Sink
from edgeseg.runtime.stats import Samples
from edgeseg.types import Result

# Results that may wait. Each holds its frame, 2.8 MB at 1280x720.
PLACES = 4
# How long the end of a file may take, and how long a run that was told to end waits for a sink.
CLOSING_S = 15.0
# How long a sink that must see every result may hold up a camera.
HOLD_UP_S = 2.0


class Guarded:
    """Hands results to a sink without waiting for it.

    One that fails gets nothing more: that is said at once, and raised by `close`. One that is too slow for a live
    source loses the oldest of the results that wait for it, which is counted; a file waits for it, until the run is to
    end. One that is waited for in vain is cut off, too: its thread is left behind, and closes it where the write that
    hangs comes back. A sink with a method `cut_off(why: str)` is told of it, from any thread.

    Args:
        sink: written to and closed on one thread, as windows want it.
        name: what it is called in messages ("video").
        live: whether results may be dropped.
        hold_up_s: where they may not, how long the run waits for one of them to be taken, in seconds; without end
            unless given.

    Attributes:
        written, dropped: results that it took, or that went by without it.
        write_ms: what writing one took.
        error: why it was cut off; None while it works.
    """

    def __init__(self, sink: Sink, name: str, live: bool, hold_up_s: float | None = None) -> None:
        self.name = name
        self.written = self.dropped = 0
        self.error: BaseException | None = None
        self.write_ms = Samples()
        self._sink, self._live, self._hold_up_s = sink, live, hold_up_s
        self._waiting: deque[Result] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._closed = self._writing = self._left_behind = False
        # When a run that is to end has waited for long enough (monotonic seconds).
        self._ends: float | None = None

    @property
    def wants_stop(self) -> bool:
        """As the sink's."""
        return bool(getattr(self._sink, "wants_stop", False))

    def end_soon(self) -> None:
        """The run is to end: a sink that pauses (a window) pauses no more, and one that hangs is waited for no longer.

        Any number of times.
        """
        getattr(self._sink, "end_pause", lambda: None)()
        with self._changed:
            if self._ends is None:
                self._ends = time.monotonic() + CLOSING_S
                self._changed.notify_all()

    def write(self, result: Result) -> None:
        """Leave a result for the sink; at once, if the source is live."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"edgeseg-{self.name}", daemon=True)
                self._thread.start()
            late = not self._live and not self._wait_for_room()
        if late:
            self._leave_behind()
        with self._changed:
            if self.error is not None or self._closing:
                self.dropped += 1
                return
            if len(self._waiting) >= PLACES:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(result)
            self._changed.notify_all()

    def close(self) -> None:
        """Let the sink take what waits and finish; raises, once, what it failed of. OutputError if it does not end."""
        with self._changed:
            if self._closed:
                return
            self._closing = self._closed = True
            self._changed.notify_all()
        if self._thread is None:
            self._sink.close()
            return
        self._thread.join(0 if self._left_behind else CLOSING_S)
        if self._thread.is_alive():
            self._give_up(self._too_late(CLOSING_S))
        if self.error is not None:
            raise self.error

    def report(self) -> dict[str, Any]:
        """What became of the results, fit for JSON."""
        error = str(self.error) if self.error else None
        return {
            "output": self.name,
            "written": self.written,
            "dropped": self.dropped,
            "error": error,
            "write": self.write_ms.to_dict(),
        }

    def _wait_for_room(self) -> bool:
        """True where there is room, or need for none, and False where that took too long. With the lock held."""
        started = time.monotonic()
        while len(self._waiting) >= PLACES and self.error is None and not self._closing:
            ends = [self._ends] if self._ends is not None else []
            ends += [started + self._hold_up_s] if self._hold_up_s is not None else []
            left_s = min(ends) - time.monotonic() if ends else None
            if left_s is not None and left_s <= 0:
                return False
            self._changed.wait(left_s)
        return True

    def _leave_behind(self) -> None:
        self._left_behind = True
        if self._ends is None:
            assert self._hold_up_s is not None
            todo = "Look at the disk or device behind it; what it took before is kept"
            error = OutputError(f"the {self.name} holds up the camera", f"{self._hold_up_s:g} s for a result", todo)
        else:
            error = self._too_late(CLOSING_S)
        self._cut_off(error)

    def _too_late(self, seconds: float) -> OutputError:
        todo = "Look at the disk or device behind it; the output may be incomplete"
        return OutputError(f"the {self.name} does not come to an end", f"{seconds:g} s", todo)

    def _work(self) -> None:
        try:
            while (result := self._next()) is not None:
                started = time.perf_counter()
                self._sink.write(result)
                self.write_ms.add((time.perf_counter() - started) * 1e3)
        except BaseException as error:
            self._cut_off(error)
        try:
            self._sink.close()
        except BaseException as error:
            self._cut_off(error)

    def _next(self) -> Result | None:
        with self._changed:
            self.written += self._writing
            self._writing = False
            while not self._waiting and not self._closing and self.error is None:
                self._changed.wait()
            result = self._waiting.popleft() if self._waiting else None
            self._writing = result is not None
            self._changed.notify_all()
            return result

    def _cut_off(self, error: BaseException) -> None:
        if self._give_up(error):
            notices.warn(f"the {self.name} is cut off: {error}")

    def _give_up(self, error: BaseException) -> bool:
        """Keep the first error, and count what waits and what is being written as lost; False for a later one."""
        with self._changed:
            if self.error is not None:
                return False
            self.error = error
            self.dropped += len(self._waiting) + self._writing
            self._waiting.clear()
            self._writing = False
            self._changed.notify_all()
        getattr(self._sink, "cut_off", lambda _: None)(str(error))
        return True
