"""What every sink of results is, and the early checks that they share."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from edgeseg.errors import OutputError
from edgeseg.types import Result


class Sink(Protocol):
    """Where results go. Constructors fail with an OutputError when the output cannot be written.

    A sink that can tell that the user wants to stop (a window) has an attribute `wants_stop: bool`; see `wants_stop`.
    What else one may have is `guarded.Guarded`'s to ask for.
    """

    def write(self, result: Result) -> None:
        """Take one result. OutputError where it cannot be written."""

    def close(self) -> None:
        """Finish the output. Any number of times."""


def wants_stop(sinks: Iterable[object]) -> bool:
    """True once the user asked one of the sinks to stop, by closing its window."""
    return any(getattr(sink, "wants_stop", False) for sink in sinks)


def check_file(path: Path, what: str) -> None:
    """Fail early where the file `path` could not be written.

    Args:
        path: the file; an existing one will be replaced.
        what: the output's name in the error ("the video").

    Raises:
        OutputError: it is a folder or a device, its folder is missing, or nothing can be written there.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {what}", f"{path} is a folder", "Name a file")
    if path.exists() and not path.is_file():
        raise OutputError(f"cannot write {what}", f"{path} is no regular file", "Name another file")
    check_folder(path.parent, what)


def check_folder(folder: Path, what: str) -> None:
    """Fail early where nothing could be written into `folder`, by writing a nameless file; OutputError says why."""
    if not folder.is_dir():
        seen = f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}"
        raise OutputError(f"cannot write {what}", seen, "Make the folder or name another")
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"edgeseg")
    except OSError as error:
        raise cannot_write(what, folder, error) from None


def cannot_write(what: str, path: object, error: BaseException) -> OutputError:
    """The OutputError for a failed write."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"cannot write {what}", f"{path} ({reason})", "Check free space and permissions there")


def write_aside(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    aside = path.with_name(f"{path.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
