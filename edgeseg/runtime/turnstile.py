"""What several streams queue at before one engine: a few pass at a time, in the order in which they came."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turnstile:
    """A fair gate. Whoever has passed and comes again stands behind all who wait: streams get equal shares.

    Args:
        places: how many may be inside at a time. Two, so that one stream's picture is made small while another's is
            in the engine; twice as many as the engine takes together.
    """

    def __init__(self, places: int = 2) -> None:
        self._free = places
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        """Wait for a place, and give it back at the end."""
        with self._lock:
            mine = None
            if self._free and not self._waiting:
                self._free -= 1
            else:
                mine = threading.Event()
                self._waiting.append(mine)
        if mine is not None:
            mine.wait()
        try:
            yield
        finally:
            with self._lock:
                # The place goes to the first in the queue, and never to one that comes by in between.
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._free += 1
