"""Instances as training draws them: sets side by side, and samples moved, pasted and recoloured with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.data.geometric import Geometric, random_matrix, warp_image, warp_mask
from edgeseg.data.instances import UNNAMED, Instances, InstanceSample, list_instances, stacked
from edgeseg.data.pasting import cutout, paste, place
from edgeseg.data.photometric import change
from edgeseg.data.pool import SetConfig, take_part
from edgeseg.data.scenes import Scenes
from edgeseg.errors import UsageError
from edgeseg.types import Image

# An instance of which less is left, in pixels of the target, is not asked for.
SMALLEST_AREA, SMALLEST_SIDE = 40, 4


class InstancePool:
    """The samples of one set, their classes those of the model.

    Args:
        root: folder that the set's path is relative to.
        config: the set; of its keys path, split, weight, part, without and cutouts count here, others are refused.
        names: the model's class names by id, the background first. Classes of the set that are not among them are left
            out; a set that only numbers its instances is the one class of the model.
        cache: keep decoded pictures in memory.

    Raises:
        InputError: a bad folder or file, naming it.
        UsageError: none of the set's classes is the model's, or a key that is for class maps.
    """

    def __init__(self, root: Path, config: SetConfig, names: Sequence[str], cache: bool = True) -> None:
        self.config = config
        _refuse(config, SetConfig(config.path), ("labels", "other", "feet"), f"the set {config.path}")
        samples, own = list_instances(root / config.path, config.split)
        self.samples: list[InstanceSample] = take_part(samples, config)
        self._table = class_table(own, names, config.path)
        self._cache: list[tuple[Image, Instances] | None] | None = [None] * len(self.samples) if cache else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image, Instances]:
        kept = self._cache[index] if self._cache is not None else None
        if kept is None:
            image, instances = self.samples[index].read()
            kept = image, instances.relabelled(self._table)
            if self._cache is not None:
                self._cache[index] = kept
        return kept

    def load(self) -> None:
        """Decode everything now, so that worker processes share it."""
        for index in range(len(self)):
            self[index]


class InstanceMaker:
    """Draws samples from pools, each a function of the generator that is handed in.

    `paste` of the configuration is the share of samples that get up to `people` instances of other pictures, from sets
    with `cutouts`; what they cover is taken from the masks below. Beyond a picture's border it is gray.

    Raises:
        UsageError: pasting without a set to take cutouts from, or a key that is for class maps.
    """

    def __init__(self, pools: Sequence[InstancePool], config: Scenes) -> None:
        self.pools, self.config = pools, config
        _refuse(config, Scenes(), ("empty", "tilt_deg", "occlude", "mix"), "scenes")
        _refuse(config.geometric, Geometric(), ("elastic",), "scenes.geometric")
        weights = np.array([pool.config.weight for pool in pools], np.float64)
        self._shares = weights / weights.sum()
        cutouts = weights * [pool.config.cutouts for pool in pools]
        self._cutout_shares = cutouts / cutouts.sum() if cutouts.sum() > 0 else None
        if config.paste > 0 and self._cutout_shares is None:
            raise UsageError("scenes.paste without anything to paste", config.paste, "Set cutouts: true on a set")

    def __call__(self, rng: np.random.Generator, target: tuple[int, int]) -> tuple[Image, Instances]:
        """uint8 [H, W, 3] BGR at `target` (height, width), and its instances, crowds left out."""
        image, instances = self._draw(rng, self._shares)
        size = image.shape[:2]
        matrix = random_matrix(rng, size, target, self.config.geometric)
        moved = warp_image(image, matrix, target, mirror=False)
        masks = [
            warp_mask(mask.astype(np.uint8), matrix, target, mirror=False) > 0
            for mask, crowd in zip(instances.masks, instances.crowd, strict=True)
            if not crowd
        ]
        labels = [int(label) for label, crowd in zip(instances.labels, instances.crowd, strict=True) if not crowd]
        if rng.random() < self.config.paste:
            stretch = (target[1] / size[1]) / (target[0] / size[0])
            for _ in range(int(rng.integers(1, self.config.people + 1))):
                self._paste(moved, masks, labels, stretch, rng)
        left = [index for index, mask in enumerate(masks) if _large_enough(mask)]
        found = stacked(
            [masks[index] for index in left], [labels[index] for index in left], [False] * len(left), target
        )
        return change(moved, rng, self.config.photometric), found

    def _draw(self, rng: np.random.Generator, shares: npt.NDArray[np.float64]) -> tuple[Image, Instances]:
        pool = self.pools[int(rng.choice(len(self.pools), p=shares))]
        return pool[int(rng.integers(len(pool)))]

    def _paste(
        self,
        image: Image,
        masks: list[npt.NDArray[np.bool_]],
        labels: list[int],
        stretch: float,
        rng: np.random.Generator,
    ) -> None:
        assert self._cutout_shares is not None
        other, instances = self._draw(rng, self._cutout_shares)
        if not len(instances):
            return
        one = int(rng.integers(len(instances)))
        cut = cutout(other, instances.masks[one].astype(np.uint8), rng)
        if cut is None or instances.crowd[one]:
            return
        covered = np.zeros(image.shape[:2], np.uint8)
        paste(image, covered, *place(cut, True, stretch, (image.shape[0], image.shape[1]), rng), label=1, rng=rng)
        for mask in masks:
            mask &= covered == 0
        masks.append(covered > 0)
        labels.append(int(instances.labels[one]))


def _refuse(given: Any, plain: Any, keys: Sequence[str], where: str) -> None:
    """UsageError for keys that would be ignored."""
    for key in keys:
        if getattr(given, key) != getattr(plain, key):
            raise UsageError(
                f"{where}: {key} is for class maps, not for instances", getattr(given, key), "Leave it out"
            )


def _large_enough(mask: npt.NDArray[np.bool_]) -> bool:
    rows, columns = mask.any(1).sum(), mask.any(0).sum()
    return bool(mask.sum() >= SMALLEST_AREA and min(rows, columns) >= SMALLEST_SIDE)


def class_table(own: Sequence[str], names: Sequence[str], path: str) -> npt.NDArray[np.int64]:
    """The model's class id by the set's; 0 for classes that the model does not have.

    Args:
        own: the set's class names by id, `UNNAMED` where it has none.
        names: the model's by id.
        path: the set, for messages.

    Raises:
        UsageError: no class in common.
    """
    if own is UNNAMED:
        if len(names) != 2:
            todo = "Name one class beside the background, or give a set in COCO's layout"
            raise UsageError("the set numbers instances and has no classes", f"{path}, {len(names)} classes", todo)
        return np.array([0, 1], np.int64)
    table = np.array([names.index(name) if name in names[1:] else 0 for name in own], np.int64)
    if not table.any():
        seen = f"{path} has {', '.join(own[1:])}; the model {', '.join(names[1:])}"
        raise UsageError("none of the set's classes is the model's", seen, "Classes must have the set's names")
    return table
