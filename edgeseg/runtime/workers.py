"""Threads that belong together: the first error of any of them is kept, and each one's end can be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class Workers:
    """Named daemon threads with one slot for errors.

    Args:
        names: of all threads that may be started, once each.
        on_error: called on the thread that failed, after its error was kept: it makes the others come to their end.
    """

    def __init__(self, names: Iterable[str], on_error: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._on_error = on_error
        self._lock = threading.Lock()
        self._ended = {name: threading.Event() for name in names}

    def run(self, name: str, work: Callable[[], None], end: Callable[[], None] = lambda: None) -> None:
        """Start a thread for `work`, and for `end` afterwards, whether `work` failed or not; returns at once."""
        ended = self._ended[name]
        threading.Thread(target=self._guarded, args=(work, end, ended), name=f"edgeseg-{name}", daemon=True).start()

    def keep(self, error: BaseException) -> None:
        """Remember an error, unless there is one already."""
        with self._lock:
            if self.error is None:
                self.error = error

    def wait(self, name: str, timeout_s: float | None = None) -> bool:
        """Wait for a thread's end, also if it is not started yet; False after `timeout_s` seconds."""
        # Events and not Thread.join: up to Python 3.12, a Ctrl-C in a join leaves the thread marked as ended.
        return self._ended[name].wait(timeout_s)

    def _guarded(self, work: Callable[[], None], end: Callable[[], None], ended: threading.Event) -> None:
        try:
            work()
        except BaseException as error:  # nothing may be lost on a thread
            self.keep(error)
            self._on_error()
        finally:
            # After the error was kept: what the end leads to, here and on other threads, may fail as well.
            end()
            ended.set()
