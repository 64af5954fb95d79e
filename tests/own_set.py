"""Somebody's own set of three classes, drawn: what tests of training learn in a few steps from nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

Span = tuple[int, int]


def draw_set(
    root: Path,
    size: Span,
    count: int,
    learned: int,
    radius: int,
    rows: Span,
    columns: Span,
    box: tuple[int, int, int],
    void: bool = False,
) -> None:
    """Red discs and blue boxes on gray, labels 1 and 2, in `images/`, `masks/`, `classes.txt`, `train.txt`, `val.txt`.

    Args:
        root: where the set goes; made.
        size: (rows, columns) of each picture.
        count: pictures in all.
        learned: how many of them are in train.txt; the others are in val.txt.
        radius: of the discs.
        rows: where their centres lie, the end excluded.
        columns: the same.
        box: (first column, last column, half the height), from a disc's centre.
        void: a frame of value 9 around each picture, which classes.txt calls void.
    """
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("floor\nball\nbox\n" + ("9 void\n" if void else ""))
    stems = [f"{number:02d}" for number in range(count)]
    left, right, half = box
    for stem in stems:
        image = rng.integers(90, 150, (*size, 3)).astype(np.uint8)
        mask = np.zeros(size, np.uint8)
        x, y = int(rng.integers(*columns)), int(rng.integers(*rows))
        for canvas, values in ((image, ((30, 30, 230), (230, 40, 30))), (mask, (1, 2))):
            cv2.circle(canvas, (x, y), radius, values[0], -1)
            cv2.rectangle(canvas, (x + left, y - half), (x + right, y + half), values[1], -1)
        if void:
            mask[:3] = mask[-3:] = 9
        cv2.imwrite(str(root / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    (root / "train.txt").write_text("\n".join(stems[:learned]))
    (root / "val.txt").write_text("\n".join(stems[learned:]))
