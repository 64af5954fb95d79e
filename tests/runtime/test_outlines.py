"""Polygons of masks, against COCO's own program."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from edgeseg.runtime import outlines
from edgeseg.runtime.outlines import polygons

# pycocotools 2.0.11 has NumPy 1's signature of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def filled(rings: list[list[int]], height: int, width: int) -> np.ndarray:
    """What pycocotools makes of polygons."""
    if not rings:
        return np.zeros((height, width), bool)
    shapes = coco_masks.frPyObjects([[float(value) for value in ring] for ring in rings], height, width)
    return np.asarray(coco_masks.decode(coco_masks.merge(shapes)), bool)


def same(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union."""
    return float((first & second).sum() / (first | second).sum())


def test_a_pixel_is_a_square_and_a_box_has_four_corners() -> None:
    mask = np.zeros((6, 8), bool)
    assert polygons(mask) == []
    assert polygons(np.zeros((0, 0), bool)) == []
    mask[2, 3] = True
    (ring,) = polygons(mask)
    assert {(ring[k], ring[k + 1]) for k in range(0, 8, 2)} == {(3, 2), (4, 2), (4, 3), (3, 3)}
    (ring,) = polygons(np.ones((40, 30), bool))
    assert {(ring[k], ring[k + 1]) for k in range(0, len(ring), 2)} == {(0, 0), (30, 0), (30, 40), (0, 40)}


def test_small_parts_are_exact_holes_and_touching_corners_included() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        height, width = random.integers(1, outlines.SMALL, 2)
        mask = random.random((height, width)) < random.random()
        np.testing.assert_array_equal(filled(polygons(mask), height, width), mask)


def test_large_parts_are_simpler_and_nearly_the_same() -> None:
    ring = np.zeros((200, 220), np.uint8)
    cv2.circle(ring, (110, 100), 80, 1, -1)
    cv2.circle(ring, (90, 100), 30, 0, -1)
    noise = np.random.default_rng(1).random((200, 220)).astype(np.float32)
    blobs = cv2.GaussianBlur(noise, (0, 0), 8) > 0.5
    for mask in (ring > 0, blobs):
        rings = polygons(mask)
        assert same(filled(rings, *mask.shape), mask) > 0.98
        steps = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        assert sum(len(one) // 2 for one in rings) < 0.4 * sum(len(one) for one in steps)
