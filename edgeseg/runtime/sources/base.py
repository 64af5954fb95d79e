"""What every source of frames is, and the part that all kinds share: counting, closing, one reader at a time."""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterator
from typing import Protocol, TypeVar

from edgeseg.errors import UsageError
from edgeseg.types import Frame


class Source(Protocol):
    """Where frames come from.

    Attributes:
        name: the source as the user named it.
        live: True where frames come whether they are taken or not (a camera); False where the source waits (a file).
        fps: frames a second, as far as the source states them; None where it does not.
        unrelated: True for pictures that have nothing to do with each other, which must not be smoothed over time.
        broken: after iteration, why the source broke off before its end, as a clause ("the file ends early, at 1.2 s
            of 3.0 s"); None at a normal end.
    """

    name: str
    live: bool
    fps: float | None
    unrelated: bool
    broken: str | None

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order. A source is read once: it is closed when the iterator ends or is closed."""

    def close(self) -> None:
        """End a running iteration soon and give everything back. From any thread, any number of times."""

    def __enter__(self) -> Source: ...

    def __exit__(self, *_: object) -> None: ...


S = TypeVar("S", bound="FrameSource")


class FrameSource(abc.ABC):
    """Base of the sources here: a kind only says how to read one frame and what to give back.

    Args:
        name: the source as the user named it.
        max_frames: end after so many frames; never when None.

    Raises:
        UsageError: `max_frames` is below 1.
    """

    live = False
    unrelated = False

    def __init__(self, name: str, max_frames: int | None = None) -> None:
        if max_frames is not None and max_frames < 1:
            raise UsageError("the number of frames is below 1", max_frames, "Give at least 1, or leave it out")
        self.name = name
        self.fps: float | None = None
        self.broken: str | None = None
        self._max_frames = max_frames
        self._count = 0
        self._stop = threading.Event()
        self._reading = threading.Lock()
        self._released = False

    @abc.abstractmethod
    def _read(self) -> Frame | None:
        """The next frame, None at the end. A wait in here ends when `self._stop` is set."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Give back what the source holds. Called once, never during a `_read`."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order. The source is closed when the iterator ends, fails or is closed."""
        try:
            while self._max_frames is None or self._count < self._max_frames:
                frame = self._read_unless_closed()
                if frame is None:
                    return
                self._count += 1
                yield frame
        finally:
            self.close()

    def _read_unless_closed(self) -> Frame | None:
        with self._reading:
            frame = None if self._stop.is_set() else self._read()
        # Asked again after the lock is free: a close() that came during the read could not release anything itself.
        return None if self._stop.is_set() else frame

    def close(self) -> None:
        """End a running iteration soon and give everything back. From any thread, any number of times."""
        self._stop.set()
        # Decoders and cameras must not be closed under a read. Where one runs, its thread comes by here afterwards.
        if self._reading.acquire(blocking=False):
            try:
                if not self._released:
                    self._released = True
                    self._release()
            finally:
                self._reading.release()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
