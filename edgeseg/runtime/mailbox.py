"""Hand-overs between two threads: one slot where the newest wins, or one slot that is waited for.

A queue between camera and model only makes frames old: a model that needs 25 ms never catches up with a camera of 100
frames a second, so the queue stays full and every place in it is 25 ms of delay. So live frames go through a `Mailbox`,
whose one slot always holds the newest, and everything else through a `Waiting`, where nothing is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class HandOver(Protocol[T]):
    """One thread puts, another takes. `dropped` counts items that went in, or should have, and were never taken."""

    dropped: int

    def put(self, item: T) -> bool:
        """Hand `item` over. False, and `dropped` goes up, when the hand-over is closed."""

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for the next item. None when the hand-over is closed and empty.

        Raises:
            TimeoutError: nothing came within `timeout_s` seconds.
        """

    def wait_for_item(self) -> bool:
        """Block until there is something to take; False when the hand-over is closed and empty."""

    def ready(self) -> bool:
        """Whether `take` and `wait_for_item` would come back at once. Only who takes may rely on it."""

    def close(self, discard: bool = False) -> None:
        """Nothing more comes. What is inside can still be taken, unless `discard`, which counts it as dropped.

        Wakes both sides. May be called again, and from any thread.
        """


# Why an item was never taken.
REPLACED, ENDED = "a newer one came", "the run ended"


class _Slot(Generic[T]):
    """What both kinds share: the slot, its lock, and the taking side.

    Args:
        on_drop: told of each item that is dropped, and why; called inside the lock, so it must be quick.
    """

    def __init__(self, on_drop: Callable[[T, str], None] | None = None) -> None:
        self.dropped = 0
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._closed = False
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)

    def take(self, timeout_s: float | None = None) -> T | None:
        """The next item; None when the hand-over is closed and empty; TimeoutError after `timeout_s` seconds."""
        with self._lock:
            if not self._filled.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError(f"nothing was handed over within {timeout_s} s")
            if not self._items:
                return None
            self._emptied.notify_all()
            return self._items.popleft()

    def wait_for_item(self) -> bool:
        """Block until there is something to take; False when closed and empty. Only who takes may rely on it."""
        with self._lock:
            self._filled.wait_for(lambda: self._items or self._closed)
            return bool(self._items)

    def ready(self) -> bool:
        """Whether there is something to take, or nothing comes any more. Only who takes may rely on it."""
        with self._lock:
            return bool(self._items) or self._closed

    def close(self, discard: bool = False) -> None:
        """Nothing more comes; with `discard`, what is inside is dropped."""
        with self._lock:
            self._closed = True
            if discard:
                self._drop_all(ENDED)
            self._filled.notify_all()
            self._emptied.notify_all()

    def _drop_all(self, why: str) -> None:
        while self._items:
            self._drop(self._items.popleft(), why)

    def _drop(self, item: T, why: str) -> None:
        self.dropped += 1
        if self._on_drop is not None:
            self._on_drop(item, why)


class Mailbox(_Slot[T]):
    """One slot, the newest wins: `put` never waits and replaces what was not taken, which counts as dropped."""

    def put(self, item: T) -> bool:
        """Hand `item` over at once; False when closed."""
        with self._lock:
            if self._closed:
                self._drop(item, ENDED)
                return False
            self._drop_all(REPLACED)
            self._items.append(item)
            self._filled.notify()
            return True


class Waiting(_Slot[T]):
    """One slot that is waited for: `put` blocks until the other side took the item before."""

    def put(self, item: T) -> bool:
        """Hand `item` over as soon as there is room; False when closed, also while it waited."""
        with self._lock:
            self._wait_for_room()
            if self._closed:
                self._drop(item, ENDED)
                return False
            self._items.append(item)
            self._filled.notify()
            return True

    def wait_for_room(self) -> bool:
        """Block until a `put` would not wait; False when closed. Only the one thread that puts may rely on it."""
        with self._lock:
            self._wait_for_room()
            return not self._closed

    def _wait_for_room(self) -> None:
        while self._items and not self._closed:
            self._emptied.wait()
