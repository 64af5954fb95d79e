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
from edgeseg.data.occluding import foam, occlude
from edgeseg.data.pasting import cutout, paste, place, tilted
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
        occlude: probability that something lies in front of the people of any sample; see `occlude`.
        mix: probability that half of the classes of a real picture are laid over another, where they are: ClassMix of
            Olsson et al. 2021, which used it on guessed labels.
        geometric, photometric: the paired transforms.
    """

    paste: float = 0.0
    empty: float = 0.0
    people: int = 4
    tilt_deg: float = 0.0
    decoy: float = 0.3
    occlude: float = 0.0
    mix: float = 0.0
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
            if self.config.mix and rng.random() < self.config.mix:
                _lay_over(image, mask, *self._real(rng, target), rng)
        if self.config.occlude and rng.random() < self.config.occlude:
            cover, people = self._background(rng, target)
            # Where no free window was found, there are people in it.
            if not (people == 1).any():
                occlude(image, mask, foam(cover, rng) if rng.random() < 0.4 else cover, rng)
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
            cut = cutout(person, area, rng)
            if cut is not None and pool.config.feet and self.config.tilt_deg:
                cut = tilted(cut, rng.normal(0.0, self.config.tilt_deg))
            if cut is not None:
                paste(image, mask, *place(cut, pool.config.feet, squeeze, target, rng), label=1, rng=rng)
        if rng.random() < self.config.decoy:
            pool, (person, area) = self._draw(rng, self._cutout_shares)
            cut = cutout(person, area, rng)
            if cut is not None:
                other, _ = self._background(rng, (cut[0].shape[0], cut[0].shape[1]))
                paste(image, mask, *place((other, cut[1]), pool.config.feet, squeeze, target, rng), label=0, rng=rng)
        return image, mask


def _lay_over(image: Image, mask: LabelMap, other: Image, other_mask: LabelMap, rng: np.random.Generator) -> None:
    """Half of the classes of `other`, drawn anew each time, over `image` and `mask`, in place."""
    ids = np.setdiff1d(np.unique(other_mask), [IGNORE_INDEX])
    chosen = np.isin(other_mask, rng.permutation(ids)[: (len(ids) + 1) // 2])
    image[chosen], mask[chosen] = other[chosen], other_mask[chosen]


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
