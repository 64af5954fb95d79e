"""COCO's instance annotations, https://cocodataset.org/#format-data: polygons and run lengths, through pycocotools.

ROOT/annotations/instances_SPLIT.json
ROOT/SPLIT/*.jpg          or ROOT/images/
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.data.instances import Instances, InstanceSample, stacked
from edgeseg.data.masks import read_image
from edgeseg.errors import InputError
from edgeseg.types import Image


def annotation_file(root: Path, split: str) -> Path:
    """Where COCO keeps the instances of a split."""
    return root / "annotations" / f"instances_{split}.json"


def list_coco(root: Path, split: str) -> tuple[list[InstanceSample], tuple[str, ...]]:
    """The pictures of a split in the file's order, those without instances too, and the class names by id.

    COCO's category ids have gaps: here classes are numbered from 1 on, in the order of those ids.

    Raises:
        InputError: the file is damaged, has no pictures, or names a picture or a category that is not there.
    """
    path = annotation_file(root, split)
    body = _read(path)
    try:
        return _samples(body, root, split, path)
    except (KeyError, TypeError, ValueError) as error:
        seen = f"{path} ({type(error).__name__}: {error})"
        raise InputError("a damaged annotation file", seen, "Take the file again") from None


def _samples(
    body: Mapping[str, Any], root: Path, split: str, path: Path
) -> tuple[list[InstanceSample], tuple[str, ...]]:
    categories = sorted(body["categories"], key=lambda item: int(item["id"]))
    classes = {int(item["id"]): number for number, item in enumerate(categories, start=1)}
    owned: dict[int, list[Mapping[str, Any]]] = {int(item["id"]): [] for item in body["images"]}
    for item in body["annotations"]:
        if int(item["category_id"]) not in classes:
            raise InputError("an annotation of an unknown category", f"{item['category_id']} in {path}", "Correct it")
        if int(item["image_id"]) not in owned:
            raise InputError("an annotation of an unknown picture", f"{item['image_id']} in {path}", "Correct it")
        owned[int(item["image_id"])].append(item)
    folder = root / split if (root / split).is_dir() else root / "images"
    samples = [
        InstanceSample(Path(item["file_name"]).stem, _reader(folder, item, owned[int(item["id"])], classes))
        for item in body["images"]
    ]
    if not samples:
        raise InputError("the split has no pictures", path, "Take the annotations of another split")
    return samples, ("background", *(str(item["name"]) for item in categories))


def _reader(
    folder: Path, item: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], classes: Mapping[int, int]
) -> Callable[[], tuple[Image, Instances]]:
    path, size = folder / str(item["file_name"]), (int(item["height"]), int(item["width"]))

    def read() -> tuple[Image, Instances]:
        image = read_image(path, 0)
        if image.shape[:2] != size:
            seen = f"{path}: annotated at {size[0]}x{size[1]}, picture {image.shape[0]}x{image.shape[1]}"
            raise InputError("picture and annotations differ in size", seen, "Take both from the same release")
        masks = [_mask(annotation, size, path) for annotation in annotations]
        labels = [classes[int(annotation["category_id"])] for annotation in annotations]
        return image, stacked(masks, labels, [bool(annotation.get("iscrowd", 0)) for annotation in annotations], size)

    return read


def _mask(annotation: Mapping[str, Any], size: tuple[int, int], path: Path) -> npt.NDArray[np.bool_]:
    """bool [H, W] of one annotation: polygons, run lengths as counts, or COCO's compressed run lengths."""
    from pycocotools import mask as runs

    shape: Any = annotation.get("segmentation")
    try:
        if isinstance(shape, list):
            code = runs.merge(runs.frPyObjects(shape, *size))
        elif isinstance(shape["counts"], list):
            code = runs.frPyObjects(shape, *size)
        else:
            code = {"size": shape["size"], "counts": str(shape["counts"]).encode()}
        with warnings.catch_warnings():
            # pycocotools 2.0.11 has NumPy 1's signature of __array__; nothing that a user could act on.
            warnings.simplefilter("ignore", DeprecationWarning)
            made: npt.NDArray[np.bool_] = runs.decode(code).astype(bool)
    except Exception as error:  # pycocotools raises whatever its C code met
        seen = f"annotation {annotation.get('id')} of {path} ({error})"
        raise InputError("a segmentation that cannot be read", seen, "Correct the annotation file") from None
    if made.shape != size:
        raise InputError("a segmentation of another size", f"annotation {annotation.get('id')} of {path}", "Correct it")
    return made


def _read(path: Path) -> Mapping[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot read the annotations", f"{path} ({error})", "Take the file again") from None
    if not isinstance(body, dict):
        raise InputError("no instance annotations of COCO", f"{path} holds a list", "Give instances_*.json")
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(body.get(key), list)]
    if missing:
        raise InputError("no instance annotations of COCO", f"{path} lacks {missing[0]}", "Give instances_*.json")
    return body
