"""Frames on standard output, as bare bytes for the next program of a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime import notices
from edgeseg.runtime.sinks.base import cannot_write
from edgeseg.runtime.sinks.one_size import OneSize
from edgeseg.types import Image, Result

WHAT = "frames to standard output"
DESCRIPTOR, ERRORS = 1, 2


class StandardOutput:
    """Writes each result's picture: height x width x 3 bytes, BGR, row by row, with nothing before or between.

    Raw frames carry no times and no size: every one is written as it comes, one of another size than the first is
    resized to that, and the first one's size is said on standard error, as what FFmpeg wants to be told.

    While the sink is open, standard output is its own: what others write there, C libraries included, goes to standard
    error.

    Args:
        fps: the source's rate, for that line.
        draw: makes the picture of a result; its overlay unless given.

    Raises:
        UsageError: standard output is a terminal.
        OutputError: it is closed, or its reader has left; also from `write`.
    """

    def __init__(self, fps: float | None = None, draw: Callable[[Result], Image] | None = None) -> None:
        if os.isatty(DESCRIPTOR):
            todo = "Pipe it into a program, such as | ffmpeg -f rawvideo ..., or name a file"
            raise UsageError("raw frames do not go to a terminal", "--save -", todo)
        self._fps, self._draw = fps, draw or (lambda result: result.overlay())
        self._one_size = OneSize("standard output")
        sys.stdout.flush()
        try:
            self._pipe: int | None = os.dup(DESCRIPTOR)
            os.dup2(ERRORS, DESCRIPTOR)
        except OSError as error:
            raise cannot_write(WHAT, "-", error) from None

    def write(self, result: Result) -> None:
        """Write one picture."""
        if self._pipe is None:
            raise OutputError(f"cannot write {WHAT}", "it is closed", "Open the sink anew")
        begun = self._one_size.size != (0, 0)
        image = self._one_size(self._draw(result))
        if not begun:
            self._tell()
        left = np.ascontiguousarray(image).data.cast("B")
        try:
            while left:
                left = left[os.write(self._pipe, left) :]
        except BrokenPipeError:
            todo = "See what the program behind the pipe says"
            raise OutputError(f"cannot write {WHAT}", "its reader has left", todo) from None
        except OSError as error:
            raise cannot_write(WHAT, "-", error) from None

    def close(self) -> None:
        """Give standard output back. Any number of times."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            sys.stdout.flush()
            os.dup2(pipe, DESCRIPTOR)
            os.close(pipe)

    def _tell(self) -> None:
        width, height = self._one_size.size
        rate = f" -framerate {self._fps:g}" if self._fps else ""
        notices.info(f"standard output: -f rawvideo -pixel_format bgr24 -video_size {width}x{height}{rate}")
