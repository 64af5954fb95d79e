"""Results as JSON lines, for programs that read along."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgeseg.errors import OutputError, UsageError, nearest
from edgeseg.instance_masks import Mask, run_lengths
from edgeseg.runtime.outlines import polygons
from edgeseg.runtime.sinks.base import cannot_write, check_folder
from edgeseg.types import Result

WHAT = "the JSON lines"
# What an area may be written as: its key, and what makes its value of a mask of the whole frame.
SHAPES: dict[str, tuple[str, Callable[[Mask], Any]]] = {"rle": ("rle", run_lengths), "polygon": ("polygons", polygons)}


class JsonLines:
    """Writes one line a result, each flushed at once.

    A line holds frame (place in the source), source, captured_ns (monotonic clock), pts_s (null where the source has
    none), age_ms (from capture until this line, null for sources that are not live), classes (id, name, and share of
    the frame's pixels, for every class of the model) and instances (box, score, class, and their shape).

    Shapes are COCO's: `rle` holds uncompressed run lengths, `polygons` the outlines in pixels, simplified by up to
    0.75 of one (`edgeseg.runtime.outlines`). Both are what pycocotools' `frPyObjects` takes.

    Args:
        target: a file, which is replaced, a pipe or device, or `-` for standard output.
        live: whether the frames come from a live source and so have an age.
        shapes: "rle" or "polygon", which then also stand with each class in view but the background; unless given,
            instances have `rle` and classes nothing.

    Raises:
        UsageError: other shapes.
        OutputError: the target cannot be written; also from `write`.
    """

    def __init__(self, target: str | Path, live: bool = False, shapes: str | None = None) -> None:
        if shapes is not None and shapes not in SHAPES:
            raise UsageError("unknown kind of shape", shapes, nearest(shapes, SHAPES))
        self._target, self._live, self._shapes = str(target), live, shapes
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
            self._file.write(json.dumps(line(result, self._live, self._shapes), allow_nan=False) + "\n")
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


def line(result: Result, live: bool, shapes: str | None = None) -> dict[str, Any]:
    """The fields of one line, ready for JSON."""
    frame = result.frame
    return {
        "frame": frame.number,
        "source": frame.source,
        "captured_ns": frame.captured_ns,
        "pts_s": frame.pts_s,
        "age_ms": round((time.monotonic_ns() - frame.captured_ns) / 1e6, 3) if live else None,
        "classes": _classes(result, shapes),
        "instances": _instances(result, shapes or "rle"),
    }


def _classes(result: Result, shapes: str | None) -> list[dict[str, Any]]:
    import cv2

    counts = cv2.calcHist([result.label_map], [0], None, [256], [0, 256])
    shares = np.asarray(counts, np.float64).ravel() / result.label_map.size
    rows: list[dict[str, Any]] = []
    for info in result.classes:
        row = {"id": info.id, "name": info.name, "share": round(float(shares[info.id]), 6)}
        # Of an instance model the shapes stand with the instances.
        if shapes is not None and result.instances is None and info.id and shares[info.id]:
            key, shape_of = SHAPES[shapes]
            row[key] = shape_of(result.label_map == info.id)
        rows.append(row)
    return rows


def _instances(result: Result, shapes: str) -> list[dict[str, Any]]:
    found = result.instances
    if found is None:
        return []
    names = {info.id: info.name for info in result.classes}
    key, shape_of = SHAPES[shapes]
    return [
        {
            "box": [round(float(value), 2) for value in found.boxes[index]],
            "score": round(float(found.scores[index]), 5),
            "class": names[int(found.classes[index])],
            key: shape_of(found.mask(index)),
        }
        for index in range(len(found))
    ]
