"""Masks as polygons in COCO's manner. Imports cv2 when something is traced."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.int64]  # [n, 2], x and y of corners of pixels

# Pixels that a corner may be left out for: a slanting border's steps are at most 0.71 high.
TOLERANCE = 0.75
# Of a part that is smaller than this, or whose area would change by more, each corner is kept.
SMALL = 16
AREA_KEPT = 0.02


def polygons(mask: npt.NDArray[np.bool_]) -> list[list[int]]:
    """The outlines of a mask, one for each connected part.

    They run between pixels, so a single pixel is a square of side 1. A hole is joined to its outline by a seam that is
    walked there and back, which COCO's programs and others that count crossings read as a hole.

    Args:
        mask: bool [H, W] of the frame.

    Returns:
        [[x1, y1, x2, y2, ...], ...] in pixels, which pycocotools' `frPyObjects` takes; empty for an empty
        mask.
    """
    import cv2

    x, y, width, height = cv2.boundingRect(mask.view(np.uint8)) if mask.size else (0, 0, 0, 0)
    if not width:
        return []
    # Twice as large, a border's pixels lie half a pixel inside of it: those of even place belong to the corner before,
    # those of odd place to the one behind.
    large = np.repeat(np.repeat(mask[y : y + height, x : x + width].view(np.uint8), 2, 0), 2, 1)
    found, tree = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    offset = np.array([x, y])
    rings: dict[int, Points] = {}
    for place in sorted(range(len(found)), key=lambda k: tree[0][k][3] >= 0):  # outlines before holes
        parent = int(tree[0][place][3])
        line = _simple((found[place][:, 0].astype(np.int64) + 1) // 2) + offset
        if parent < 0:
            rings[place] = line
        else:
            rings[parent] = _joined(rings[parent], line)
    return [[int(value) for value in ring.ravel()] for ring in rings.values()]


def _simple(corners: Points) -> Points:
    """The outline without corners that hardly matter."""
    import cv2

    exact = corners[np.any(corners != np.roll(corners, 1, 0), 1)].astype(np.int32)
    if np.ptp(exact, axis=0).min() < SMALL:
        return np.asarray(exact, np.int64)
    rough = cv2.approxPolyDP(exact, TOLERANCE, True)
    area = cv2.contourArea(exact)
    kept = len(rough) > 2 and abs(cv2.contourArea(rough) - area) <= AREA_KEPT * area
    return np.asarray(rough[:, 0] if kept else exact, np.int64)


def _joined(ring: Points, hole: Points) -> Points:
    """One outline of both, with a seam between corners that are near to each other."""
    # The nearest to the hole's first corner, not of all pairs: outlines may be long.
    start = int(np.argmin(((ring - hole[0]) ** 2).sum(1)))
    first = int(np.argmin(((hole - ring[start]) ** 2).sum(1)))
    around = np.roll(hole, -first, 0)
    return np.concatenate([ring[: start + 1], around, around[:1], ring[start:]])
