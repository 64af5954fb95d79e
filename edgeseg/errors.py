"""Every error that edgeseg raises on purpose, and the exit code each one ends the command line with.

    EdgeSegError              1   a failure while running
    ├── UsageError            2   wrong usage: an unknown option, model name, backend or configuration key
    ├── InputError            3   a source, model file or data folder cannot be opened or read
    ├── OutputError           3   an output cannot be written
    ├── ModelError            4   a model or engine does not fit: corrupt, no manifest, wrong version or device
    ├── BackendError          4   a known backend is not installed or finds no device
    └── LimitError            5   a limit that the caller asked for was missed

A message reads `CAUSE: VALUE SEEN. WHAT TO DO.`, so that one line is enough to act on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgeSegError(Exception):
    """Base of all errors raised on purpose.

    Args:
        cause: what went wrong, without a final stop ("cannot open the video").
        seen: the value that was found (a path, a shape); empty when there is none.
        todo: what the user can do about it, as a sentence without its final stop.
    """

    exit_code = 1

    def __init__(self, cause: str, seen: object = "", todo: str = "") -> None:
        self.cause, self.seen, self.todo = cause, str(seen), todo
        head = f"{cause}: {seen}" if self.seen else cause
        super().__init__(f"{head}. {todo}." if todo else f"{head}.")

    def __reduce__(self) -> tuple[type[EdgeSegError], tuple[str, str, str]]:
        return type(self), (self.cause, self.seen, self.todo)


class UsageError(EdgeSegError):
    """Wrong usage, an unknown name included (exit code 2)."""

    exit_code = 2


class InputError(EdgeSegError):
    """A source, model file or data folder cannot be opened or read (exit code 3)."""

    exit_code = 3


class OutputError(EdgeSegError):
    """An output cannot be written (exit code 3)."""

    exit_code = 3


class ModelError(EdgeSegError):
    """A model or engine does not fit: corrupt, without manifest, of a wrong version (exit code 4)."""

    exit_code = 4


class BackendError(EdgeSegError):
    """A known backend is not installed or finds no device (exit code 4)."""

    exit_code = 4


class LimitError(EdgeSegError):
    """A limit that the caller asked for was missed (exit code 5)."""

    exit_code = 5


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: `did you mean 'x'? Known: a, b, x`, without a final stop."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    listed = f"Known: {', '.join(names)}"
    return f"Did you mean '{close[0]}'? {listed}" if close else listed
