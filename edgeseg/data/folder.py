"""Reader for folders of images and label maps.

Two layouts are known: `ROOT/images` + `ROOT/masks` (or `labels`) with `ROOT/SPLIT.txt`, one file stem a line; and
`ROOT/SPLIT/images` + `ROOT/SPLIT/labels` (or `masks`). Label maps are PNG, 8 bit, one channel, the class id as value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.errors import InputError
from edgeseg.types import Image, LabelMap

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MASK_FOLDERS = ("masks", "labels")


@dataclass(frozen=True, slots=True)
class Sample:
    """Paths of one picture and its label map."""

    image: Path
    mask: Path

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return self.image.stem


def list_samples(root: Path, split: str) -> list[Sample]:
    """The pictures of a split with their label maps, in the order of the split file or of their names.

    Raises:
        InputError: no such folder, an unknown layout (says what was looked for), an empty split, or a missing file.
    """
    if not root.is_dir():
        raise InputError("data folder not found", root, "Check the path")
    inner = root / split
    base = inner if (inner / "images").is_dir() else root
    masks = next((base / name for name in MASK_FOLDERS if (base / name).is_dir()), None)
    listing = root / f"{split}.txt"
    if not (base / "images").is_dir() or masks is None or (base is root and not listing.is_file()):
        looked = f"images/ + masks/ + {split}.txt, or {split}/images + {split}/labels"
        raise InputError("unknown data layout", root, f"Looked for {looked}")
    by_stem = {p.stem: p for p in sorted((base / "images").iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
    stems: Sequence[str] = list(by_stem) if base is inner else listing.read_text().split()
    samples = []
    for stem in stems:
        mask = masks / f"{stem}.png"
        if stem not in by_stem or not mask.is_file():
            missing = mask if stem in by_stem else base / "images" / stem
            raise InputError(
                "a listed picture or label map is missing", missing, f"Correct {listing.name} or add the file"
            )
        samples.append(Sample(by_stem[stem], mask))
    if not samples:
        raise InputError("the split has no pictures", f"{root}, split {split}", "Add file stems to the split file")
    return samples


def read_image(path: Path) -> Image:
    """uint8 [H, W, 3] BGR; a file that cannot be decoded is an InputError that names it."""
    import cv2

    data = np.frombuffer(_read_bytes(path), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InputError("not a readable picture", path, "Replace the file or take it out of the split")
    return image  # type: ignore[return-value]


def read_mask(path: Path, size: tuple[int, int] | None = None) -> LabelMap:
    """uint8 [H, W] of class ids.

    Args:
        path: a PNG of 8 bits and one channel.
        size: (height, width) it must have; None for any.

    Raises:
        InputError: unreadable, more than one channel, not 8 bit, or of another size.
    """
    import cv2

    data = np.frombuffer(_read_bytes(path), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        seen = "unreadable" if mask is None else f"{mask.dtype} {mask.shape}"
        raise InputError("not a label map", f"{path} ({seen})", "Use PNG, 8 bit, one channel, the class id as value")
    if size is not None and mask.shape != size:
        raise InputError(
            "label map and picture differ in size", f"{path} {mask.shape}, picture {size}", "Make them equal"
        )
    return mask  # type: ignore[return-value]


def read_pair(sample: Sample) -> tuple[Image, LabelMap]:
    """Picture and label map of a sample, of equal size."""
    image = read_image(sample.image)
    return image, read_mask(sample.mask, image.shape[:2])


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "cannot read the file", f"{path} ({error.strerror})", "Check the path and its permissions"
        ) from None
