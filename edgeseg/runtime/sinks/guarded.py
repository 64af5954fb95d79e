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
# How long the end of a file may take.
CLOSING_S = 15.0


class Guarded:
    """Hands results to a sink without waiting for it.

    One that fails gets nothing more: that is said at once, and raised by `close`. One that is too slow for a live
    source loses the oldest of the results that wait for it, which is counted; a file waits for it.

    Args:
        sink: written to and closed on one thread, as windows want it.
        name: what it is called in messages ("video").
        live: whether results may be dropped.

    Attributes:
        written, dropped: results that it took, or that went by without it.
        write_ms: what writing one took.
        error: why it was cut off; None while it works.
    """

    def __init__(self, sink: Sink, name: str, live: bool) -> None:
        self.name = name
        self.written = self.dropped = 0
        self.error: BaseException | None = None
        self.write_ms = Samples()
        self._sink, self._live = sink, live
        self._waiting: deque[Result] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._closed = self._writing = False

    @property
    def wants_stop(self) -> bool:
        """As the sink's."""
        return bool(getattr(self._sink, "wants_stop", False))

    def end_pause(self) -> None:
        """Tell a sink that pauses (a window) that the run is to end."""
        getattr(self._sink, "end_pause", lambda: None)()

    def write(self, result: Result) -> None:
        """Leave a result for the sink; at once, if the source is live."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"edgeseg-{self.name}", daemon=True)
                self._thread.start()
            while len(self._waiting) >= PLACES and not self._live and self.error is None and not self._closing:
                self._changed.wait()
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
        self._thread.join(CLOSING_S)
        if self._thread.is_alive():
            todo = "Look at the disk or device behind it; the output may be incomplete"
            self._give_up(OutputError(f"the {self.name} does not come to an end", f"{CLOSING_S:g} s", todo))
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
            while not self._waiting and not self._closing:
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
            return True
