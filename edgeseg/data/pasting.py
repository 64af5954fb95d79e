"""People cut out of one picture and put into another: scaled, leaning, brought into its light.

Copy-paste for segmentation is described by Ghiasi et al. 2021 ("Simple Copy-Paste is a Strong Data Augmentation
Method").
"""

from __future__ import annotations

import math

import numpy as np

from edgeseg.types import Image, LabelMap

Pair = tuple[Image, LabelMap]


def cutout(image: Image, mask: LabelMap, rng: np.random.Generator) -> Pair | None:
    """Picture and mask cut to a person's box, mirrored now and then; None where there is nobody large enough."""
    import cv2

    area = (mask == 1).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(area)
    if width < 16 or height < 32:
        return None
    rows, columns = slice(y, y + height), slice(x, x + width)
    step = -1 if rng.random() < 0.5 else 1
    return np.ascontiguousarray(image[rows, columns][:, ::step]), np.ascontiguousarray(area[rows, columns][:, ::step])


def tilted(cut: Pair, angle: float) -> Pair:
    """A cutout turned by `angle` degrees, in the box that it then needs."""
    import cv2

    image, area = cut
    height, width = area.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cos, sin = abs(turn[0, 0]), abs(turn[0, 1])
    columns, rows = round(height * sin + width * cos), round(height * cos + width * sin)
    turn[:, 2] += (columns - width) / 2, (rows - height) / 2
    turned = cv2.warpAffine(image, turn, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    outline = cv2.warpAffine(area * np.uint8(255), turn, (columns, rows))
    return turned, (outline > 127).astype(np.uint8)  # type: ignore[return-value]


def place(
    cut: Pair, feet: bool, squeeze: float, target: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, np.ndarray, int, int]:
    """Scale a cutout and choose where it stands: (picture, opacity float32 0..1, left, top)."""
    import cv2

    image, area = cut
    low, high = (0.2, 1.1) if feet else (0.35, 1.2)
    height = max(16, round(target[0] * math.exp(rng.uniform(math.log(low), math.log(high)))))
    width = max(8, round(height * image.shape[1] / image.shape[0] * squeeze * rng.uniform(0.9, 1.1)))
    mode = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    person = cv2.resize(image, (width, height), interpolation=mode)
    soft = cv2.resize(area.astype(np.float32), (width, height), interpolation=mode)
    soft = cv2.GaussianBlur(soft, (3, 3), 0)
    if rng.random() < 0.5:
        # Half a pixel less: the rim of a mask often holds the old background's colour.
        soft = np.clip(soft * 1.6 - 0.6, 0.0, 1.0)
    left = int(rng.integers(-width // 3, max(target[1] - 2 * width // 3, 1 - width // 3)))
    if feet and height < target[0]:
        top = int(rng.integers(max(0, target[0] // 2 - height), target[0] - height + 1))
    else:
        top = max(target[0] - height, int(-0.15 * height)) + (0 if not feet else int(rng.integers(0, height // 4 + 1)))
        top = max(top, target[0] - height) if not feet else top
    return person, soft, left, top  # type: ignore[return-value]


def paste(
    image: Image,
    mask: LabelMap,
    person: Image,
    soft: np.ndarray,
    left: int,
    top: int,
    label: int,
    rng: np.random.Generator,
) -> None:
    """Blend a placed cutout into `image` and write `label` into `mask` where it covers, both in place.

    Args:
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W].
        person, soft, left, top: as `place` gives them.
        label: what the mask says there.
        rng: of how far its light is brought towards the place's.
    """
    height, width = mask.shape
    y0, y1, x0, x1 = max(0, top), min(height, top + soft.shape[0]), max(0, left), min(width, left + soft.shape[1])
    if y1 - y0 < 8 or x1 - x0 < 4:
        return
    window = image[y0:y1, x0:x1]
    inner = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    alpha = soft[inner][..., None]
    # Bring the person's light towards that of the place, part of the way.
    here, own = float(window.mean()) + 8.0, float(person[inner].mean()) + 8.0
    # Within limits: in front of a black wall people are not black.
    gain = min(max((here / own) ** rng.uniform(0.0, 0.6), 0.6), 1.6)
    blended = window + alpha * (np.minimum(person[inner] * np.float32(gain), 255.0) - window)
    image[y0:y1, x0:x1] = blended.astype(np.uint8)
    mask[y0:y1, x0:x1][soft[inner] > 0.5] = label
