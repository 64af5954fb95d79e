"""What the user is told meanwhile: single lines on standard error, since standard output may hold results."""

from __future__ import annotations

import sys
from typing import TextIO


def warn(text: str) -> None:
    """Say that something is not as expected, but goes on: `warning: TEXT` on stderr."""
    _write(f"warning: {text}")


def info(text: str) -> None:
    """Say what is being done where that takes long or was decided for the user: `TEXT` on stderr."""
    _write(text)


def _write(line: str) -> None:
    # One write for line and end, so that lines of several threads do not mix.
    sys.stderr.write(" ".join(line.split("\n")) + "\n")
    sys.stderr.flush()


class Progress:
    """One line that is written over on a terminal; silent elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.shown = self.stream.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        """Replace the line."""
        if self.shown:
            self.stream.write("\r" + text.ljust(self._width))
            self.stream.flush()
            self._width = len(text)

    def clear(self) -> None:
        """Take the line away, so that what follows starts on a clean one."""
        if self.shown and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
            self._width = 0
