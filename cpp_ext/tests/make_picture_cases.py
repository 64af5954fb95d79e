"""Writes the cases that the kernels around a model are compared with, computed by the runtime itself (cv2).

    python cpp_ext/tests/make_picture_cases.py FOLDER

FOLDER/preprocess.bin: pixel format, frame's rows, columns, fit (0 stretch, 1 letterbox), input's rows, columns; the
frame's bytes, and of NV12 its chroma; the input that edgeseg.runtime.preprocess makes of cv2.cvtColor's BGR.

FOLDER/labels.bin: kind (0 nearest labels, 1 probability, 2 overlay, 3 counts), map's rows, columns, area's top, left,
rows, columns, result's rows, columns, threshold byte, strength in 1 / 1000. Of 0 and 1 the map, and what
edgeseg.runtime.postprocess makes of it: labels, and of 1 the probability. Of 2 image, labels, 256 tints, and what
edgeseg.drawing makes of them without outlines. Of 3 labels and numpy's counts as uint64.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest import mock

import cv2
import numpy as np
from case_files import case, write

from edgeseg.drawing import draw_labels
from edgeseg.manifest import Manifest
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.postprocess import Postprocessor, threshold_byte
from edgeseg.runtime.preprocess import Preprocessor
from edgeseg.types import ClassInfo

FORMATS = ("bgr", "rgb", "nv12", "yuyv")
FITS = ("stretch", "letterbox")
# (frame's rows, columns, input's rows, columns); NV12 and YUYV take the next even sides.
PICTURES = [
    (1, 1, 4, 6),
    (7, 5, 32, 16),  # everything larger
    (48, 64, 48, 64),  # as it is
    (32, 32, 16, 16),  # by 2
    (31, 45, 32, 32),  # larger and smaller by less than 1.5
    (48, 48, 32, 32),  # by 1.5: not averaged
    (49, 48, 32, 32),  # averaged
    (90, 160, 37, 41),
    (72, 10, 16, 48),  # high and narrow
    (11, 301, 24, 64),  # low and wide
    (135, 240, 64, 64),
    (128, 96, 32, 24),  # by 4
]
# (map's rows, columns, area's top, left, rows, columns, result's rows, columns)
MAPS = [
    (1, 1, 0, 0, 1, 1, 3, 5),
    (16, 24, 0, 0, 16, 24, 16, 24),  # as it is
    (16, 16, 3, 0, 9, 16, 45, 80),
    (16, 16, 0, 2, 16, 11, 61, 43),  # no packs
    (32, 32, 7, 0, 18, 32, 108, 192),
    (24, 24, 0, 0, 24, 24, 15, 20),  # smaller
    (24, 24, 0, 0, 24, 24, 12, 12),  # by 2
    (9, 13, 1, 2, 7, 10, 128, 96),
]
STRENGTHS = (0, 300, 450, 1000)


def main() -> None:
    """Every size in every format and fit; every map."""
    folder = Path(sys.argv[1])
    frames = (picture(*one) for one in itertools.product(range(len(FORMATS)), PICTURES, range(len(FITS))))
    write(folder / "preprocess.bin", frames, "edgeseg.runtime and cv2")
    write(folder / "labels.bin", itertools.chain(resizes(), overlays(), counts()), "edgeseg.runtime and cv2")


def picture(kind: int, size: tuple[int, int, int, int], fit: int) -> bytes:
    """One frame of noise, which shows more than a photograph would."""
    rows, columns, height, width = size
    rng = np.random.default_rng([kind, fit, *size])
    if FORMATS[kind] in ("nv12", "yuyv"):
        columns += columns % 2
    if FORMATS[kind] == "nv12":
        rows += rows % 2
        frame = rng.integers(0, 256, (rows * 3 // 2, columns), np.uint8)
        bgr = cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_NV12)
    elif FORMATS[kind] == "yuyv":
        frame = rng.integers(0, 256, (rows, columns, 2), np.uint8)
        bgr = cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_YUY2)
    else:
        frame = rng.integers(0, 256, (rows, columns, 3), np.uint8)
        bgr = frame if FORMATS[kind] == "bgr" else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    expected, _ = Preprocessor(manifest(2, height, width, FITS[fit]))(bgr)
    return case([kind, rows, columns, fit, height, width], frame, expected)


def resizes() -> Iterator[bytes]:
    """Maps back at the frame's size: ids of many classes, and a probability that is cut at several thresholds."""
    for size in MAPS:
        rows, columns, *area, height, width = size
        rng = np.random.default_rng(size)
        geometry = Geometry(height, width, *area)
        ids = rng.integers(0, 256, (1, rows, columns), np.uint8)
        answer = Postprocessor(manifest(256, rows, columns))({"label_map": ids}, geometry)
        yield case([0, *size], ids, between_pixels_the_later(geometry.map_of(ids), answer.label_map))
        for threshold in (0.0, 0.5, 0.9):
            postprocess = Postprocessor(manifest(2, rows, columns), threshold)
            answer = postprocess({"probability": ids}, geometry)
            yield case([1, *size, threshold_byte(threshold)], ids, answer.label_map, cast(Any, answer.probability))


def between_pixels_the_later(area: Any, resized: Any) -> Any:
    """cv2's map, except where a centre lies between two pixels: there it goes by roundings of its own."""
    taken, open_ = [], []
    for inputs, outputs in zip(area.shape, resized.shape, strict=True):
        places = (2 * np.arange(outputs) + 1) * inputs
        taken.append(places // (2 * outputs))
        open_.append(places % (2 * outputs) == 0)
    exact = area[taken[0][:, None], taken[1]]
    assert np.array_equal(exact[~open_[0]][:, ~open_[1]], resized[~open_[0]][:, ~open_[1]])
    return exact


def overlays() -> Iterator[bytes]:
    """Every value of a pixel under every value of a tint, and blocks of classes of which some are drawn."""
    rng = np.random.default_rng(0)
    for strength in STRENGTHS:
        colours = np.stack([np.arange(256), rng.permutation(256), rng.permutation(256)], axis=1).astype(np.uint8)
        labels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, axis=1)
        yield tinted(np.dstack([labels.T] * 3), labels, colours, strength, drawn=set(range(1, 256)))
    for rows, columns in ((1, 1), (37, 53), (16, 64)):
        labels = rng.integers(0, 4, (rows // 4 + 1, columns // 4 + 1), np.uint8).repeat(4, 0).repeat(4, 1)
        image = rng.integers(0, 256, (rows, columns, 3), np.uint8)
        yield tinted(image, labels[:rows, :columns], rng.integers(0, 256, (4, 3), np.uint8), 450, drawn={1, 3})


def tinted(image: Any, labels: Any, colours: Any, strength: int, drawn: set[int]) -> bytes:
    """One overlay by edgeseg.drawing, its outlines left out."""
    classes = [ClassInfo(i, f"class {i}", tuple(map(int, colour))) for i, colour in enumerate(colours)]
    with mock.patch("cv2.drawContours"):
        expected = draw_labels(image, labels, classes, strength / 1000, {f"class {i}" for i in drawn})
    tints = np.zeros((256, 4), np.uint8)
    tints[: len(colours), :3] = colours
    tints[sorted(drawn), 3] = 1
    rows, columns = labels.shape
    return case([2, rows, columns, 0, 0, rows, columns, rows, columns, 0, strength], image, labels, tints, expected)


def counts() -> Iterator[bytes]:
    """Noise, which changes at every pixel, and runs of all lengths."""
    rng = np.random.default_rng(1)
    for rows, columns in ((1, 1), (1, 127), (3, 43), (16, 16), (64, 80)):
        for runs in (False, True):
            labels = rng.integers(0, 256, rows * columns, np.uint8)
            if runs:
                labels = np.repeat(labels, rng.integers(1, 90, labels.size))[: labels.size]
            found = np.bincount(labels, minlength=256).astype("<u8")
            yield case([3, rows, columns, 0, 0, rows, columns, rows, columns], labels, found)


def manifest(classes: int, rows: int, columns: int, fit: str = "stretch") -> Manifest:
    """Of a semantic model whose map is as large as its input."""
    outputs = ("label_map", "probability") if classes == 2 else ("label_map",)
    infos = tuple(ClassInfo(i, f"class {i}", (0, 0, 0)) for i in range(classes))
    return Manifest(name="test", classes=infos, height=rows, width=columns, outputs=outputs, fit=fit)


if __name__ == "__main__":
    main()
