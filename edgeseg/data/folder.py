"""The pictures of a set with their label maps, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeseg.data.masks import read_image, read_mask
from edgeseg.errors import InputError
from edgeseg.types import Image, LabelMap

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# (file, (height, width) it must have or None, page) -> uint8 [H, W].
MaskReader = Callable[[Path, tuple[int, int] | None, int], LabelMap]


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and where its label map comes from.

    Attributes:
        image: the picture's file.
        mask: the file that holds the label map.
        page: which picture of both files, where they are stacks.
        reader: reads the label map out of `mask`.
    """

    image: Path
    mask: Path
    page: int = 0
    reader: MaskReader = read_mask

    @property
    def stem(self) -> str:
        """File name without suffix, and the page of a stack."""
        return f"{self.image.stem}-{self.page}" if self.page else self.image.stem

    def read_image(self) -> Image:
        """uint8 [H, W, 3] BGR; an unreadable file is an InputError that names it."""
        return read_image(self.image, self.page)

    def read_mask(self, size: tuple[int, int] | None = None) -> LabelMap:
        """uint8 [H, W] of class ids or, in sets of instances, their numbers; InputError as `masks.read_mask`."""
        return self.reader(self.mask, size, self.page)


def list_samples(root: Path, split: str) -> list[Sample]:
    """The samples of a split, in the order of the split's list or of the files' names.

    Raises:
        InputError: no such folder, an unknown layout (says what was looked for), an empty split, or a missing file.
    """
    from edgeseg.data.layouts import LAYOUTS

    if not root.is_dir():
        raise InputError("data folder not found", root, "Check the path")
    for layout in LAYOUTS:
        samples = layout.find(root, split)
        if samples is None:
            continue
        if not samples:
            raise InputError("the split has no pictures", f"{root}, split {split}", "Add file stems to the split file")
        return samples
    looked = "; or ".join(layout.looked_for.format(split=split) for layout in LAYOUTS)
    raise InputError("unknown data layout", root, f"Looked for {looked}")


def read_pair(sample: Sample) -> tuple[Image, LabelMap]:
    """Picture and label map of a sample, of equal size."""
    image = sample.read_image()
    return image, sample.read_mask(image.shape[:2])
