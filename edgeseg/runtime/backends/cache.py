"""The folder for what was worked out on this machine and can be worked out again: measurements, rewritten models."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Engines, and files of each kind that belong to them.
KEPT_ENGINES = 32


def cache_folder() -> Path:
    """`$EDGESEG_CACHE`, or `~/.cache/edgeseg`; it need not exist."""
    named = os.environ.get("EDGESEG_CACHE")
    return Path(named) if named else Path("~/.cache/edgeseg").expanduser()


def write_aside(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part; makes its folder.

    Raises:
        OSError: the place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def trim(folder: Path, pattern: str, keep: int) -> None:
    """Delete all but the `keep` newest files of `folder` that match `pattern`; best effort, errors are left alone."""
    try:
        files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        for path in files[: max(0, len(files) - keep)]:
            path.unlink(missing_ok=True)
    except OSError:
        return
