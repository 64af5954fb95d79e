"""Instances' small masks brought into the frame, and masks as run lengths. Imports cv2 when something is pasted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.types import Instances, LabelMap

Mask = npt.NDArray[np.bool_]
Window = tuple[int, int, Mask]  # first row, first column, mask


def paste_window(
    probabilities: npt.NDArray[np.float32], box: npt.NDArray[np.float32], height: int, width: int, cut: float = 0.5
) -> Window:
    """One instance's mask in the part of the frame that its box covers.

    A pixel's centre is looked up in the small mask, bilinearly, with zeros around it (He et al. 2017 resize the mask to
    the box and cut it at one half; this is Detectron2's exact form of that, which does not round the box).

    Args:
        probabilities: float32 [h, w], 0 to 1, stretched over the box.
        box: float32 [4], x1 y1 x2 y2 in pixels of the frame; may reach out of it.
        height, width: of the frame.
        cut: probability from which a pixel belongs to the instance.

    Returns:
        First row, first column, bool [rows, columns]; 0 rows where the box has no area in the frame.
    """
    import cv2

    x1, y1, x2, y2 = (float(value) for value in box)
    left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
    right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
    if right <= left or bottom <= top or x2 <= x1 or y2 <= y1:
        return 0, 0, np.zeros((0, 0), bool)
    rows, columns = probabilities.shape
    across = (np.arange(left, right) + 0.5 - x1) * (columns / (x2 - x1)) - 0.5
    down = (np.arange(top, bottom) + 0.5 - y1) * (rows / (y2 - y1)) - 0.5
    # A border of zeros of its own: beside the mask there is nothing.
    padded = np.pad(probabilities.astype(np.float32), 1)
    grid = np.meshgrid(across.astype(np.float32) + 1, down.astype(np.float32) + 1)
    values = cv2.remap(padded, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return top, left, values >= cut


def whole(window: Window, height: int, width: int) -> Mask:
    """bool [height, width]: the mask of a window at the size of the frame."""
    top, left, inner = window
    mask = np.zeros((height, width), bool)
    mask[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return mask


def paint(instances: Instances) -> LabelMap:
    """uint8 [H, W]: the class of the best-scoring instance of each pixel, 0 where there is none."""
    labels = np.zeros(instances.size, np.uint8)
    for index in reversed(range(len(instances))):
        top, left, inner = instances.window(index)
        part = labels[top : top + inner.shape[0], left : left + inner.shape[1]]
        part[inner] = instances.classes[index]
    return labels


def run_lengths(mask: Mask) -> dict[str, Any]:
    """COCO's uncompressed run lengths: column by column, zeros first.

    Returns:
        {"size": [height, width], "counts": [...]}, which pycocotools' `frPyObjects` takes.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(side) for side in mask.shape], "counts": counts if flat.size else []}
