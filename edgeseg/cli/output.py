"""How results leave the command line: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgeseg.errors import OutputError, UsageError

if TYPE_CHECKING:
    from edgeseg.runtime.segmenter import Segmenter


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns wide enough for their content; numbers stand right, words left."""
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [all(not isinstance(row[i], str) for row in rows) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = (
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def text_stream(json_target: str | None) -> TextIO:
    """Where text for people goes: standard output, unless JSON has it to itself."""
    return sys.stderr if json_target == "-" else sys.stdout


def check_target(target: str | Path | None, *read: Path | None) -> None:
    """Raise OutputError now rather than after the work if the file `target` cannot be written; None and "-" can.

    Also a UsageError where it is one of the files that the command reads.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_file() and any(other is not None and other.exists() and path.samefile(other) for other in read):
        raise UsageError("the file to write is one that is read", path, "Give another name")
    if path.is_dir():
        raise OutputError("cannot write a file where a folder is", path, "Give a file name")
    if not path.parent.is_dir():
        raise OutputError("cannot write into a folder that does not exist", path.parent, "Make it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError("no permission to write into the folder", path.parent, "Choose another")


def write_json(body: Mapping[str, Any], target: str | None) -> None:
    """Write `body` to standard output ("-") or aside and then into the file; nothing happens for None."""
    if target is None:
        return
    text = json.dumps(body, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path, aside = Path(target), Path(f"{target}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError("cannot write the figures", f"{path} ({error})", "Choose another place") from None


def describe_segmenter(segmenter: Segmenter) -> dict[str, str]:
    """What runs on what, for a report."""
    manifest, backend = segmenter.manifest, segmenter.backend
    return {
        "model": manifest.name,
        "precision": manifest.precision,
        "backend": backend.name,
        "device": backend.device,
    }


def model_line(segmenter: Segmenter) -> str:
    """The same for a person, in one line."""
    manifest, backend = segmenter.manifest, segmenter.backend
    kind = f"{manifest.height}x{manifest.width}, {manifest.precision}"
    return f"model {manifest.name} ({kind}) on {backend.name}, device {backend.device}"
