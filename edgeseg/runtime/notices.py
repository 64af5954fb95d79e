"""What the user is told meanwhile: single lines on standard error, since standard output may hold results."""

from __future__ import annotations

import sys


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
