"""Things in front of people. Large ones hide them: table tops, water, leaves. Small ones are theirs: a badge, a cup.

Without the first a network learns that what is above the knees goes on below them, and draws legs into spray. Without
the second it then learns to cut out what people wear and hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.types import Image, LabelMap

Box = Sequence[int]  # left, top, width, height


def occlude(image: Image, mask: LabelMap, cover: Image, rng: np.random.Generator) -> None:
    """Lay something in front of the people in view, in place; nothing happens where there are none.

    Either it comes in from below or from a side, with a torn, soft or speckled edge, and 0 is written into the mask
    where it covers more than half. Or it is a small patch on a person, and the mask stays as it is.

    Args:
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W].
        cover: uint8 [H, W, 3] BGR, what lies in front.
        rng: of kind, place, size and shape.
    """
    import cv2

    box = cv2.boundingRect((mask == 1).astype(np.uint8))
    if box[2] < 8 or box[3] < 12:
        return
    small = rng.random() < 0.4
    opacity = _patch(mask, box, rng) if small else _from_outside(mask.shape, box, rng)
    image[:] = image + opacity[..., None] * (cover - image.astype(np.float32))
    if not small:
        mask[(opacity > 0.5) & (mask == 1)] = 0


def foam(cover: Image, rng: np.random.Generator) -> Image:
    """A bright, grainy picture in place of `cover`: spray, snow, smoke, overexposed cloth."""
    import cv2

    grain: npt.NDArray[np.int16] = np.zeros(cover.shape[:2], np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    cv2.randn(grain, np.zeros(1), np.full(1, rng.uniform(5.0, 40.0)))
    tint = rng.uniform(150, 250) + rng.uniform(-12, 12, 3)
    shaded = 0.2 * cv2.GaussianBlur(cover, (0, 0), 3.0) + 0.8 * tint + grain[..., None]
    return np.clip(shaded, 0, 255).astype(np.uint8)


def _patch(mask: LabelMap, box: Box, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Opacity float32 [H, W], 0..1, of a small rectangle or ellipse, turned, with its middle on a person."""
    import cv2

    rows, columns = np.nonzero(mask == 1)
    middle = int(rng.integers(len(rows)))
    side = min(box[2], box[3])
    axes = [max(1.0, side * rng.uniform(0.03, 0.14)) for _ in range(2)]
    place = (float(columns[middle]), float(rows[middle])), (2 * axes[0], 2 * axes[1]), float(rng.uniform(0.0, 180.0))
    drawn: npt.NDArray[np.uint8] = np.zeros(mask.shape, np.uint8)
    if rng.random() < 0.5:
        cv2.ellipse(drawn, place, 255, -1)
    else:
        cv2.fillPoly(drawn, [cv2.boxPoints(place).round().astype(np.int32)], 255)
    return cv2.GaussianBlur(drawn, (3, 3), 0).astype(np.float32) / 255.0


def _from_outside(shape: tuple[int, ...], box: Box, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Opacity float32 [H, W], 0..1, of all that lies beyond a line through the box, moved by noise of two scales."""
    import cv2

    height, width = shape
    x, y, box_width, box_height = box
    # 0 at the far side of the people, 1 where the thing comes from.
    if rng.random() < 0.7:
        along = np.repeat((np.arange(height, dtype=np.float32)[:, None] - y) / box_height, width, axis=1)
    else:
        along = np.repeat((np.arange(width, dtype=np.float32)[None, :] - x) / box_width, height, axis=0)
        along = along if rng.random() < 0.5 else 1.0 - along
    for cells, strength in ((int(rng.integers(3, 12)), rng.uniform(0.0, 0.2)), (64, 0.2 * rng.random() ** 2)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        along += np.float32(strength) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # A hard edge is a table's, a soft one water's.
    sharpness = np.float32(rng.uniform(4.0, 40.0))
    return np.clip((along - np.float32(rng.uniform(0.45, 0.95))) * sharpness + 0.5, 0.0, 1.0)  # type: ignore[no-any-return]
