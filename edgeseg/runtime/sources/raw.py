"""Raw frames on standard input: another program's pictures, one after the other without any header."""

from __future__ import annotations

import contextlib
import math
import os
import select
import time
from dataclasses import dataclass

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.runtime.sources.pixel_formats import pixel_format
from edgeseg.types import Frame

NAME = "-"
STDIN = 0
MAX_SIDE = 16384
LOOK_S = 0.1
PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What the bytes mean.

    Attributes:
        width, height: pixels, 1 to 16384.
        pixels: layout by FFmpeg's name, see `pixel_formats.FORMATS`.
        fps: frames a second, for timestamps and recordings.

    Raises:
        UsageError: an unknown layout, a size that it does not have, or a rate that is not above 0 or endless.
    """

    width: int
    height: int
    pixels: str = "bgr24"
    fps: float = 30.0

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise UsageError("bad size of raw frames", f"{self.width}x{self.height}", f"Sides are 1 to {MAX_SIDE}")
        if not 0 < self.fps < math.inf:
            raise UsageError("bad rate of raw frames", self.fps, "Give frames a second, above 0")
        pixel_format(self.pixels).size_bytes(self.width, self.height)


class RawFrames(FrameSource):
    """Frames from a pipe, which waits while nobody reads; `captured_ns` is when a frame's last byte was read.

    `pts_s` counts frames at the stated rate. Where the bytes end within a frame, `broken` says so.

    Args:
        form: what the bytes mean; None is an error.
        max_frames: end after so many frames.
        descriptor: the file descriptor to read, standard input's unless given. It is not closed.

    Raises:
        UsageError: no `form`, or the descriptor is a terminal.
        InputError: the descriptor is closed.
    """

    def __init__(self, form: RawFormat | None, max_frames: int | None = None, descriptor: int = STDIN) -> None:
        super().__init__(NAME, max_frames)
        if form is None:
            raise UsageError("raw frames on standard input need their size", NAME, "Give --raw-size 1280x720")
        try:
            terminal = os.isatty(descriptor)
            os.fstat(descriptor)
        except OSError as error:
            raise InputError("cannot read standard input", error.strerror, "Pipe frames into it") from None
        if terminal:
            raise UsageError("standard input is a terminal", NAME, "Pipe frames into it")
        self.fps = form.fps
        self._form, self._descriptor = form, descriptor
        self._layout = pixel_format(form.pixels)
        self._bytes = self._layout.size_bytes(form.width, form.height)
        _widen(descriptor)

    def _read(self) -> Frame | None:
        data = bytearray(self._bytes)
        left = memoryview(data)
        while left:
            if self._stop.is_set():
                return None
            if not select.select([self._descriptor], [], [], LOOK_S)[0]:
                continue
            got = os.readv(self._descriptor, [left])
            if not got:
                self._judge(len(data) - len(left))
                return None
            left = left[got:]
        arrived_ns = time.monotonic_ns()
        image = self._layout.to_bgr(data, self._form.width, self._form.height)
        return Frame(image, self._count, arrived_ns, pts_s=self._count / self._form.fps, source=self.name)

    def _judge(self, got: int) -> None:
        """At the end of the input: was it the end of a frame?"""
        if got:
            self.broken = f"standard input ends in the middle of a frame, after {got} of {self._bytes} bytes"
        elif not self._count:
            self.broken = "standard input is empty"

    def _release(self) -> None:
        """Standard input is the process's, not ours."""


def _widen(descriptor: int) -> None:
    """Let a pipe hold more, so that its writer is woken less often; where that is not allowed, it stays as it is."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
