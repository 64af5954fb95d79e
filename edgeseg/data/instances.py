"""Pictures with their instances: sets whose masks number the instances, and COCO's annotation files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.data.folder import list_samples
from edgeseg.errors import InputError
from edgeseg.types import Image

# What stands for the classes of a set that only numbers its instances; told by identity, not by its words.
UNNAMED = ("background", "object")


@dataclass(frozen=True, slots=True)
class Instances:
    """The K instances of one picture.

    Attributes:
        masks: bool [K, H, W].
        labels: int64 [K], class ids from 1 on.
        crowd: bool [K]; a crowd is many at once: training takes it for background, and no answer inside is wrong.
    """

    masks: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def relabelled(self, table: npt.NDArray[np.int64]) -> Instances:
        """Those whose class `table` [ids of the set] knows, above 0, with the ids that it gives."""
        labels = table[self.labels]
        known = labels > 0
        return Instances(self.masks[known], labels[known], self.crowd[known])

    def boxes(self) -> npt.NDArray[np.float32]:
        """float32 [K, 4]: left, top, right, bottom in pixels, tight; right and bottom lie behind the last pixel."""
        found = np.zeros((len(self), 4), np.float32)
        for box, mask in zip(found, self.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if len(rows):
                box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return found


@dataclass(frozen=True, slots=True)
class InstanceSample:
    """One picture and what reads its instances.

    Attributes:
        name: for messages and reports.
        read: -> picture uint8 [H, W, 3] BGR and its instances; InputError where a file is bad, naming it.
    """

    name: str
    read: Callable[[], tuple[Image, Instances]]


def list_instances(root: Path, split: str) -> tuple[list[InstanceSample], tuple[str, ...]]:
    """The samples of a split and the names of their classes by id, the background first.

    A folder with `annotations/instances_SPLIT.json` is COCO's. In every other layout that `list_samples` knows, masks
    number the instances of one class, "object", from 1 on; 255 is a crowd.

    Raises:
        InputError: no such folder, an unknown layout, an empty split, or files that are missing or damaged.
    """
    from edgeseg.data.coco import annotation_file, list_coco

    if annotation_file(root, split).is_file():
        return list_coco(root, split)
    if (root / "annotations").is_dir():
        raise InputError(
            "no instance annotations of that split", annotation_file(root, split), "Check the split's name"
        )
    samples = list_samples(root, split)

    def reader(index: int) -> Callable[[], tuple[Image, Instances]]:
        def read() -> tuple[Image, Instances]:
            image = samples[index].read_image()
            return image, numbered(samples[index].read_mask(image.shape[:2]))

        return read

    return [InstanceSample(sample.stem, reader(index)) for index, sample in enumerate(samples)], UNNAMED


def numbered(mask: npt.NDArray[np.uint8]) -> Instances:
    """The instances of a mask uint8 [H, W] that numbers them from 1 on; 0 is background, 255 counts as a crowd."""
    numbers = [int(value) for value in np.unique(mask) if value != 0]
    crowd = np.array([value == 255 for value in numbers], bool)
    return stacked([mask == value for value in numbers], [1] * len(numbers), crowd, mask.shape)


def stacked(
    masks: Sequence[npt.NDArray[np.bool_]],
    labels: Sequence[int],
    crowd: Sequence[bool] | npt.NDArray[np.bool_],
    size: tuple[int, ...],
) -> Instances:
    """`Instances` of lists, which may be empty; `size` is (height, width)."""
    empty = np.zeros((0, *size[:2]), bool)
    whole = np.stack(list(masks)) if len(masks) else empty
    return Instances(whole, np.array(labels, np.int64), np.array(crowd, bool))
