"""Training samples for a person model: real pictures, composed scenes and pictures with nobody in view.

A few thousand portraits and street photos teach a network that there is one large person in the middle. Scenes teach
the rest: several people, small ones, some cut off by the border, and backgrounds alone. Copy-paste for segmentation is
described by Ghiasi et al. 2021 ("Simple Copy-Paste is a Strong Data Augmentation Method"). Here the pasted outline is
also filled with background now and then and labelled so, lest the seam itself become the sign of a person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeseg.data.geometric import Geometric, random_field, random_matrix, warp
from edgeseg.data.photometric import Photometric, change
from edgeseg.data.pool import Pool
from edgeseg.types import IGNORE_INDEX, Image, LabelMap

Pair = tuple[Image, LabelMap]


@dataclass(frozen=True, slots=True)
class Scenes:
    """Shares of the kinds of samples; what remains are real pictures.

    Attributes:
        paste: people pasted onto a background or into another picture.
        empty: nobody in view.
        people: largest number of pasted people.
        tilt_deg: standard deviation of the angle by which pasted full figures lean, degrees.
        decoy: probability that a scene also holds a person's outline filled with background.
        geometric, photometric: the paired transforms.
    """

    paste: float = 0.0
    empty: float = 0.0
    people: int = 4
    tilt_deg: float = 0.0
    decoy: float = 0.3
    geometric: Geometric = field(default_factory=Geometric)
    photometric: Photometric = field(default_factory=Photometric)


class SceneMaker:
    """Draws samples from pools, each a function of the generator that is handed in, so that a run can be repeated."""

    def __init__(self, pools: Sequence[Pool], config: Scenes) -> None:
        self.pools, self.config = pools, config
        weights = np.array([pool.config.weight for pool in pools], np.float64)
        self._shares = weights / weights.sum()
        cutouts = [pool.config.weight if pool.config.cutouts else 0.0 for pool in pools]
        self._cutout_shares = np.array(cutouts) / sum(cutouts) if sum(cutouts) > 0 else None

    def __call__(self, rng: np.random.Generator, target: tuple[int, int]) -> Pair:
        """uint8 [H, W, 3] BGR and uint8 [H, W] of class ids, at `target` (height, width)."""
        kind = rng.random()
        if kind < self.config.paste and self._cutout_shares is not None:
            image, mask = self._scene(rng, target)
        elif kind < self.config.paste + self.config.empty:
            image, mask = self._background(rng, target)
        else:
            image, mask = self._real(rng, target)
        return change(image, rng, self.config.photometric), mask

    def _draw(self, rng: np.random.Generator, shares: np.ndarray) -> tuple[Pool, Pair]:
        pool = self.pools[int(rng.choice(len(self.pools), p=shares))]
        return pool, pool[int(rng.integers(len(pool)))]

    def _real(self, rng: np.random.Generator, target: tuple[int, int]) -> Pair:
        _, (image, mask) = self._draw(rng, self._shares)
        matrix = random_matrix(rng, mask.shape, target, self.config.geometric)
        field = random_field(rng, target, self.config.geometric) if self.config.geometric.elastic else None
        return warp(image, mask, matrix, target, field)

    def _background(self, rng: np.random.Generator, target: tuple[int, int]) -> Pair:
        for _ in range(6):
            _, (image, mask) = self._draw(rng, self._shares)
            window = _free_window(mask, rng)
            if window is not None:
                part = np.ascontiguousarray(image[window])
                size = (part.shape[0], part.shape[1])
                free = np.zeros(size, np.uint8)
                return warp(part, free, random_matrix(rng, size, target, self.config.geometric), target)
        return self._real(rng, target)

    def _scene(self, rng: np.random.Generator, target: tuple[int, int]) -> Pair:
        image, mask = self._real(rng, target) if rng.random() < 0.35 else self._background(rng, target)
        # The target is a stretched frame; its true shape decides how wide people look in it.
        aspect = math.exp(rng.uniform(math.log(9 / 16), math.log(16 / 9)))
        squeeze = (target[1] / target[0]) / aspect
        assert self._cutout_shares is not None
        for _ in range(int(rng.integers(1, self.config.people + 1))):
            pool, (person, area) = self._draw(rng, self._cutout_shares)
            cut = _cutout(person, area, rng)
            if cut is not None and pool.config.feet and self.config.tilt_deg:
                cut = _tilted(cut, rng.normal(0.0, self.config.tilt_deg))
            if cut is not None:
                _paste(image, mask, *_place(cut, pool.config.feet, squeeze, target, rng), label=1, rng=rng)
        if rng.random() < self.config.decoy:
            pool, (person, area) = self._draw(rng, self._cutout_shares)
            cut = _cutout(person, area, rng)
            if cut is not None:
                other, _ = self._background(rng, (cut[0].shape[0], cut[0].shape[1]))
                _paste(image, mask, *_place((other, cut[1]), pool.config.feet, squeeze, target, rng), label=0, rng=rng)
        return image, mask


def _free_window(mask: LabelMap, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """A random window without people: the largest of a few tries."""
    import cv2

    sums = cv2.integral((mask != 0).astype(np.uint8))
    height, width = mask.shape
    best, found = 0, None
    for _ in range(24):
        h, w = int(rng.integers(64, max(65, height))), int(rng.integers(64, max(65, width)))
        if h > height or w > width or h * w <= best:
            continue
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        if sums[y + h, x + w] - sums[y, x + w] - sums[y + h, x] + sums[y, x] == 0:
            best, found = h * w, (slice(y, y + h), slice(x, x + w))
    return found


def _cutout(image: Image, mask: LabelMap, rng: np.random.Generator) -> Pair | None:
    """Picture and mask cut to a person's box, mirrored now and then; None where there is nobody large enough."""
    import cv2

    area = (mask == 1).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(area)
    if width < 16 or height < 32:
        return None
    rows, columns = slice(y, y + height), slice(x, x + width)
    step = -1 if rng.random() < 0.5 else 1
    return np.ascontiguousarray(image[rows, columns][:, ::step]), np.ascontiguousarray(area[rows, columns][:, ::step])


def _tilted(cut: Pair, angle: float) -> Pair:
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


def _place(
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


def _paste(
    image: Image,
    mask: LabelMap,
    person: Image,
    soft: np.ndarray,
    left: int,
    top: int,
    label: int,
    rng: np.random.Generator,
) -> None:
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


__all__ = ["IGNORE_INDEX", "SceneMaker", "Scenes"]
