"""Things in front of people: torn, soft or speckled patches, which the mask then does not count as people.

Without them a network learns that what is above the knees goes on below them, and draws legs into spray, leaves and
table tops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.types import Image, LabelMap


def occlude(image: Image, mask: LabelMap, cover: Image, rng: np.random.Generator) -> None:
    """Lay a patch over a part of the people in view, in place; nothing happens where there are none.

    Args:
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W]; 0 is written where the patch covers more than half.
        cover: uint8 [H, W, 3] BGR, what the patch shows.
        rng: of its place, size and shape.
    """
    import cv2

    x, y, width, height = cv2.boundingRect((mask == 1).astype(np.uint8))
    if width < 8 or height < 12:
        return
    rows, columns = np.nonzero(mask == 1)
    # Twice as often at the lower half, where things are in front of people.
    aim = max(int(rng.integers(len(rows))) for _ in range(2))
    radius = rng.uniform(0.15, 0.5) * min(height, 1.5 * width), rng.uniform(0.15, 0.9) * min(width, 1.5 * height)
    opacity = _torn(mask.shape, (float(rows[aim]), float(columns[aim])), radius, rng)
    image[:] = image + opacity[..., None] * (cover - image.astype(np.float32))
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


def _torn(
    shape: tuple[int, ...], centre: tuple[float, float], radius: tuple[float, float], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Opacity float32 [H, W], 0..1, of an ellipse whose border noise of two scales moves in and out."""
    import cv2

    height, width = shape
    y = (np.arange(height, dtype=np.float32)[:, None] - centre[0]) / max(radius[0], 2.0)
    x = (np.arange(width, dtype=np.float32)[None, :] - centre[1]) / max(radius[1], 2.0)
    distance = np.sqrt(x * x + y * y)
    for cells, strength in ((int(rng.integers(4, 12)), rng.uniform(0.1, 0.9)), (64, 0.6 * rng.random() ** 2)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        distance += np.float32(strength) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # A hard edge is a table's, a soft one water's.
    return np.clip((1.0 - distance) * np.float32(rng.uniform(2.0, 20.0)) + 0.5, 0.0, 1.0)  # type: ignore[no-any-return]
