"""Results as JSON lines, for programs that read along."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgeseg.errors import OutputError
from edgeseg.instance_masks import run_lengths
from edgeseg.runtime.sinks.base import cannot_write, check_folder
from edgeseg.types import Result

WHAT = "the JSON lines"


class JsonLines:
    """Writes one line a result, each flushed at once.

    A line holds frame (place in the source), source, captured_ns (monotonic clock), pts_s (null where the source has
    none), age_ms (from capture until this line, null for sources that are not live), classes (id, name, and share of
    the frame's pixels, for every class of the model) and instances.

    Args:
        target: a file, which is replaced, a pipe or device, or `-` for standard output.
        live: whether the frames come from a live source and so have an age.

    Raises:
        OutputError: the target cannot be written; also from `write`.
    """

    def __init__(self, target: str | Path, live: bool = False) -> None:
        self._target, self._live = str(target), live
        self._file: TextIO | None = sys.stdout
        if self._target == "-":
            return
        path = Path(target)
        if path.is_dir():
            raise OutputError(f"cannot write {WHAT}", f"{path} is a folder", "Name a file, or - for standard output")
        if not path.exists():
            check_folder(path.parent, WHAT)
        try:
            # Not written aside: others follow the file while it grows.
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise cannot_write(WHAT, path, error) from None

    def write(self, result: Result) -> None:
        """Write and flush one line."""
        if self._file is None:
            raise OutputError(f"cannot write {WHAT}", f"{self._target} is closed", "Open the sink anew")
        try:
            self._file.write(json.dumps(line(result, self._live), allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            self._abandon()
            raise cannot_write(WHAT, self._target, error) from None

    def close(self) -> None:
        """Close the file; standard output stays open."""
        file, self._file = self._file, None
        if file is None or self._target == "-":
            return
        try:
            file.close()
        except OSError as error:
            raise cannot_write(WHAT, self._target, error) from None

    def _abandon(self) -> None:
        """Nobody reads any more: what is still in the buffer must not fail a second time when Python exits."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError, ValueError):
            if file is not None:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, file.fileno())
                os.close(nowhere)
                if file is not sys.stdout:
                    file.close()


def line(result: Result, live: bool) -> dict[str, Any]:
    """The fields of one line, ready for JSON."""
    import cv2

    frame = result.frame
    counts = cv2.calcHist([result.label_map], [0], None, [256], [0, 256])
    shares = np.asarray(counts, np.float64).ravel() / result.label_map.size
    return {
        "frame": frame.number,
        "source": frame.source,
        "captured_ns": frame.captured_ns,
        "pts_s": frame.pts_s,
        "age_ms": round((time.monotonic_ns() - frame.captured_ns) / 1e6, 3) if live else None,
        "classes": [
            {"id": info.id, "name": info.name, "share": round(float(shares[info.id]), 6)} for info in result.classes
        ],
        "instances": _instances(result),
    }


def _instances(result: Result) -> list[dict[str, Any]]:
    found = result.instances
    if found is None:
        return []
    names = {info.id: info.name for info in result.classes}
    return [
        {
            "box": [round(float(value), 2) for value in found.boxes[index]],
            "score": round(float(found.scores[index]), 5),
            "class": names[int(found.classes[index])],
            "rle": run_lengths(found.mask(index)),
        }
        for index in range(len(found))
    ]
