"""How data sets lay their files out: our own two forms, and the published layouts of sets that people have.

Each `find` gives the samples of a split, or None where the folder is not of its layout. A file that a list names and
that is not there is an InputError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.data.folder import IMAGE_SUFFIXES, Sample
from edgeseg.data.masks import count_pages, read_mask
from edgeseg.errors import InputError
from edgeseg.types import IGNORE_INDEX, LabelMap

MASK_FOLDERS = ("masks", "labels")
# Cityscapes' labelIds of its 19 classes, in the order of their trainIds; all others are ignored (cityscapesScripts,
# helpers/labels.py).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout.

    Attributes:
        name: for people.
        looked_for: what must be there; `{split}` stands for the split's name.
        find: (root, split) -> its samples, or None.
    """

    name: str
    looked_for: str
    find: Callable[[Path, str], list[Sample] | None]


def _listed(root: Path, split: str) -> list[Sample] | None:
    listing, masks = root / f"{split}.txt", _masks_in(root)
    if not (root / "images").is_dir() or masks is None or not listing.is_file():
        return None
    return _pairs(root / "images", masks, read_list(listing), listing)


def _folder_a_split(root: Path, split: str) -> list[Sample] | None:
    base = root / split
    masks = _masks_in(base)
    if not (base / "images").is_dir() or masks is None:
        return None
    return _pairs(base / "images", masks, _by_stem(base / "images"), base)


def _cityscapes(root: Path, split: str) -> list[Sample] | None:
    pictures, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    if not pictures.is_dir() or not masks.is_dir():
        return None
    samples = []
    for image in sorted(pictures.glob("*/*_leftImg8bit.png")):
        stem = image.name.removesuffix("_leftImg8bit.png")
        mask = masks / image.parent.name / f"{stem}_gtFine_labelIds.png"
        samples.append(Sample(image, _there(mask, masks), reader=_read_train_ids))
    return samples


def _voc(root: Path, split: str) -> list[Sample] | None:
    listing = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file() or not (root / "SegmentationClass").is_dir():
        return None
    return _pairs(root / "JPEGImages", root / "SegmentationClass", read_list(listing), listing)


def _penn_fudan(root: Path, split: str) -> list[Sample] | None:
    if not (root / "PNGImages").is_dir() or not (root / "PedMasks").is_dir():
        return None
    images = _by_stem(root / "PNGImages")
    listing = root / f"{split}.txt"
    # The published set has no splits: a list may be added, else every split is all of it.
    stems = read_list(listing) if listing.is_file() else list(images)
    return [
        Sample(_picture(images, stem, root), _there(root / "PedMasks" / f"{stem}_mask.png", root)) for stem in stems
    ]


def _lgg(root: Path, split: str) -> list[Sample] | None:
    base = root / "kaggle_3m" if (root / "kaggle_3m").is_dir() else root
    patients = sorted(path for path in base.glob("TCGA_*") if path.is_dir())
    if not patients:
        return None
    listing = root / f"{split}.txt"
    if listing.is_file():
        patients = [_there(base / name, listing) for name in read_list(listing)]
    samples = []
    for mask in (mask for patient in patients for mask in sorted(patient.glob("*_mask.tif"), key=_slice)):
        image = mask.with_name(mask.name.replace("_mask.tif", ".tif"))
        samples.append(Sample(_there(image, mask), mask, reader=_read_binary))
    return samples


def _isbi2012(root: Path, split: str) -> list[Sample] | None:
    volume, labels = root / f"{split}-volume.tif", root / f"{split}-labels.tif"
    if not volume.is_file() or not labels.is_file():
        return None
    if count_pages(volume) != count_pages(labels):
        seen = f"{volume} {count_pages(volume)}, {labels} {count_pages(labels)}"
        raise InputError("the stacks differ in length", seen, "Take both from the same release")
    return [Sample(volume, labels, page, _read_binary) for page in range(count_pages(volume))]


LAYOUTS = (
    Layout("a folder a split", "{split}/images + {split}/labels", _folder_a_split),
    Layout("split lists", "images/ + masks/ + {split}.txt", _listed),
    Layout("Cityscapes", "leftImg8bit/{split}/ + gtFine/{split}/", _cityscapes),
    Layout("Pascal VOC", "ImageSets/Segmentation/{split}.txt + SegmentationClass/", _voc),
    Layout("Penn-Fudan", "PNGImages/ + PedMasks/", _penn_fudan),
    Layout("LGG brain MRI", "TCGA_*/*_mask.tif", _lgg),
    Layout("ISBI 2012", "{split}-volume.tif + {split}-labels.tif", _isbi2012),
)


def read_list(path: Path) -> list[str]:
    """The words of a text file, one a line; InputError where it is no text."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the split's list", f"{path} ({error})", "Write one file stem a line") from None


def _masks_in(base: Path) -> Path | None:
    return next((base / name for name in MASK_FOLDERS if (base / name).is_dir()), None)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}


def _pairs(images: Path, masks: Path, stems: Iterable[str], where: Path) -> list[Sample]:
    known = _by_stem(images) if images.is_dir() else {}
    return [Sample(_picture(known, stem, images), _there(masks / f"{stem}.png", where)) for stem in stems]


def _picture(known: dict[str, Path], stem: str, folder: Path) -> Path:
    return known[stem] if stem in known else _there(folder / stem, folder)


def _there(path: Path, listing: Path) -> Path:
    if not path.exists():
        raise InputError("a listed picture or label map is missing", path, f"Correct {listing.name} or add the file")
    return path


def _slice(path: Path) -> tuple[str, int]:
    """LGG numbers a patient's slices without leading zeros."""
    name, _, number = path.name.removesuffix("_mask.tif").rpartition("_")
    return (name, int(number)) if number.isdecimal() else (path.name, 0)


def _read_train_ids(path: Path, size: tuple[int, int] | None, page: int) -> LabelMap:
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    mapped: LabelMap = table[read_mask(path, size, page)]
    return mapped


def _read_binary(path: Path, size: tuple[int, int] | None, page: int) -> LabelMap:
    """0 and 255 become 0 and 1."""
    return (read_mask(path, size, page) > 127).astype(np.uint8)
