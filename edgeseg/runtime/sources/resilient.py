"""A live source that comes back: it notices that nothing arrives any more, connects again, and says so once.

    its own thread:  connect -> read, read, read ... -> lost          one thread a connection
    capture thread:  waits for the next picture, at most `stall_timeout_s`; then a new connection is made

A read inside a camera's driver or a network library cannot be broken off from outside. So it has a thread, which is
left behind where it hangs and ends whenever the read comes back.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgeseg.errors import EdgeSegError, InputError, UsageError
from edgeseg.runtime import notices
from edgeseg.runtime.mailbox import Waiting
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.types import Frame, Image

FIRST_DELAY_S = 0.1
GOODBYE_S = 0.5


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as a connection reads it; the fields are those of `Frame`."""

    image: Image
    captured_ns: int
    pts_s: float | None = None


class Connection(Protocol):
    """An open camera or stream. One thread makes it, reads it and closes it.

    Attributes:
        fps: pictures a second as far as it says; None where it does not.
    """

    fps: float | None

    def read(self) -> Shot | None:
        """The next picture; None at an end. May raise whatever its library raises."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a live source is waited for, in seconds.

    Attributes:
        open_timeout_s: at the start, until it gives its first picture.
        stall_timeout_s: later, without a picture, until it counts as lost.
        retry_s: longest pause between two tries to connect; the first one is 0.1 s, each next one twice as long, and
            each is shortened by chance, by up to a half, so that many readers do not come back at once.

    Raises:
        UsageError: a time that is not above 0, or endless.
    """

    open_timeout_s: float = 10.0
    stall_timeout_s: float = 5.0
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            # Longer is more than the system's clocks can wait.
            if not 0 < getattr(self, name) <= threading.TIMEOUT_MAX:
                raise UsageError(f"{name} is no time to wait", getattr(self, name), "Give seconds, above 0")


@dataclass(slots=True)
class Health:
    """What happened to a live source, or to a video file, so far.

    Attributes:
        reconnects: how often it was lost and came back.
        away_s: seconds without it, in all, from the last picture before to the first one after.
        corrupt: packets that were left out because they were damaged.
        patched: pictures with damaged parts that the decoder has filled in; they come out.
        decoder: who decodes its pictures ("in software"); empty where nobody needs to, or it is not known.
    """

    reconnects: int = 0
    away_s: float = 0.0
    corrupt: int = 0
    patched: int = 0
    decoder: str = ""


@dataclass(frozen=True, slots=True)
class _Lost:
    why: str


@dataclass(slots=True)
class _Line:
    """One connection's way to the capture thread."""

    items: Waiting[Shot | _Lost] = field(default_factory=Waiting)
    fps: float | None = None


class Resilient(FrameSource):
    """See the top of the file. A frame's `session` counts the connections before its own.

    Args:
        name: the source as the user named it, without secrets.
        connect: opens it; EdgeSegError or OSError where that fails. Called in a thread of its own, again and again.
        patience: times to wait.
        max_frames: end after so many frames.
        health: where the connection counts what it leaves out.
        first: a connection that is open already.

    Raises:
        InputError: no picture within `open_timeout_s`.
    """

    live = True

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        patience: Patience | None = None,
        max_frames: int | None = None,
        health: Health | None = None,
        first: Connection | None = None,
    ) -> None:
        super().__init__(name, max_frames)
        self.patience, self.health = patience or Patience(), health or Health()
        self._connect = connect
        self._tries = self._session = 0
        self._last_ns = time.monotonic_ns()
        self._line = self._start(first)
        try:
            self._first: Shot | None = self._wait_for_first()
        except BaseException:
            self.close()
            raise
        self.fps = self._line.fps

    def close(self) -> None:
        """See `Source.close`."""
        self._stop.set()
        self._line.items.close(discard=True)
        super().close()

    def _start(self, opened: Connection | None = None) -> _Line:
        line = _Line()
        name = f"edgeseg-{self.name}"
        self._thread = threading.Thread(target=self._pump, args=(line, opened), name=name, daemon=True)
        self._thread.start()
        return line

    def _pump(self, line: _Line, connection: Connection | None) -> None:
        """A connection's thread: ends with the connection, or when nobody takes its pictures any more."""
        try:
            with contextlib.closing(connection or self._connect()) as opened:
                while (shot := opened.read()) is not None:
                    line.fps = opened.fps  # some know it from the first picture on
                    if not line.items.put(shot):
                        return
            why = "it ended"
        except EdgeSegError as error:
            why = f"{error.cause}: {error.seen}" if error.seen else error.cause
        except Exception as error:  # of whichever library reads it
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        line.items.put(_Lost(why))

    def _wait_for_first(self) -> Shot | None:
        ends = time.monotonic() + self.patience.open_timeout_s
        why = "no picture came"
        while (left_s := ends - time.monotonic()) > 0:
            try:
                item = self._line.items.take(left_s)
            except TimeoutError:
                break
            if not isinstance(item, _Lost):
                self._tries = 0
                return item
            why = item.why
            if not self._again(min(left_s, self.patience.retry_s)):
                return None
        todo = "Check the address and that nothing else holds it; --open-timeout-s waits longer"
        seen = f"{self.name} ({why}, for {self.patience.open_timeout_s:g} s)"
        raise InputError("the source cannot be opened", seen, todo)

    def _read(self) -> Frame | None:
        lost = False
        while not self._stop.is_set():
            item = self._first or self._take()
            self._first = None
            if item is None:
                return None
            if isinstance(item, Shot):
                return self._arrived(item, lost)
            if not lost:
                notices.warn(f"{self.name} is lost ({item.why}); trying to connect again")
            lost = True
            if not self._again(self.patience.retry_s):
                return None
        return None

    def _take(self) -> Shot | _Lost | None:
        # A connection that is being made may take as long as at the start.
        limit_s = self.patience.open_timeout_s if self._tries else self.patience.stall_timeout_s
        try:
            return self._line.items.take(limit_s)
        except TimeoutError:
            return _Lost(f"no picture for {limit_s:g} s")

    def _again(self, longest_s: float) -> bool:
        """Leave the line, pause, and begin another one; False where the source was closed meanwhile."""
        self._line.items.close(discard=True)
        delay_s = min(self.patience.retry_s, FIRST_DELAY_S * 2**self._tries)
        self._tries = min(self._tries + 1, 30)
        if self._stop.wait(min(longest_s, delay_s * random.uniform(0.5, 1.0))):
            return False
        self._line = self._start()
        if self._stop.is_set():  # closed in between: it closed the line before this one
            self._line.items.close(discard=True)
        return not self._stop.is_set()

    def _arrived(self, shot: Shot, lost: bool) -> Frame:
        if lost:
            away_s = max(0, shot.captured_ns - self._last_ns) / 1e9
            self.health.reconnects += 1
            self.health.away_s += away_s
            self._session += 1
            notices.info(f"{self.name} is back after {away_s:.1f} s")
        self._tries, self._last_ns = 0, shot.captured_ns
        return Frame(shot.image, self._count, shot.captured_ns, shot.pts_s, source=self.name, session=self._session)

    def _release(self) -> None:
        # The connection's own thread closes it; whoever opens the camera next should find it free. It may hang, though.
        self._thread.join(GOODBYE_S)
