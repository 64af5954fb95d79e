"""Instances: COCO's published format on a small file of its own, and masks that number them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.data.instances import list_instances, numbered
from edgeseg.errors import InputError

pytest.importorskip("pycocotools", reason="pycocotools, of the extra train, is not installed")

from pycocotools import mask as runs
from pycocotools.coco import COCO


def disc() -> np.ndarray:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.asfortranarray(((rows - 20) ** 2 + (columns - 30) ** 2 < 100).astype(np.uint8))


def counts(mask: np.ndarray) -> list[int]:
    """Run lengths column by column, background first, by their definition."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    found = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return found if flat[0] == 0 else [0, *found]


@pytest.fixture
def body() -> dict[str, Any]:
    """Two pictures; a polygon of two parts, run lengths of both kinds, a crowd; categories with gaps."""
    square, corner = [10, 10, 20, 10, 20, 20, 10, 20], [40, 5, 50, 5, 50, 15]
    packed = runs.encode(disc())
    return {
        "images": [
            {"id": 7, "file_name": "000007.jpg", "height": 40, "width": 60},
            {"id": 9, "file_name": "000009.jpg", "height": 40, "width": 60},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": [square, corner]},
            {"id": 2, "image_id": 7, "category_id": 1, "iscrowd": 1,
             "segmentation": {"size": [40, 60], "counts": counts(disc())}},
            {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 0,
             "segmentation": {"size": [40, 60], "counts": packed["counts"].decode()}},
        ],
    }  # fmt: skip


def write(root: Path, body: dict[str, Any]) -> Path:
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    for item in body["images"]:
        cv2.imwrite(str(root / "val2017" / item["file_name"]), np.zeros((40, 60, 3), np.uint8))
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(body))
    return path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of the oracle itself
def test_coco_is_read_as_published(tmp_path: Path, body: dict[str, Any]) -> None:
    path = write(tmp_path, body)
    samples, names = list_instances(tmp_path, "val2017")
    assert names == ("background", "person", "dog")
    assert [sample.name for sample in samples] == ["000007", "000009"]
    image, instances = samples[0].read()
    assert image.shape == (40, 60, 3)
    assert instances.labels.tolist() == [2, 1, 1]
    assert instances.crowd.tolist() == [False, True, False]
    # pycocotools' own reading of the same file is the oracle.
    coco = COCO(str(path))
    for index, mask in enumerate(instances.masks, start=1):
        assert np.array_equal(mask, coco.annToMask(coco.anns[index]).astype(bool))
    assert np.array_equal(instances.masks[1], disc().astype(bool))
    assert instances.boxes()[2].tolist() == [21, 11, 40, 30]
    assert len(samples[1].read()[1]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body.pop("categories"), "lacks categories"),
        (lambda body: body["annotations"][0].update(category_id=5), "unknown category"),
        (lambda body: body["annotations"][0].pop("image_id"), "damaged annotation file.*image_id"),
        (lambda body: body["images"][0].pop("height"), "damaged annotation file.*height"),
        (lambda body: body["images"][0].update(id="first"), "damaged annotation file"),
        (lambda body: body["annotations"][0].update(image_id=5), "unknown picture"),
        (lambda body: body.update(images=[], annotations=[]), "no pictures"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, body: dict[str, Any], change: Any, message: str) -> None:
    change(body)
    write(tmp_path, body)
    with pytest.raises(InputError, match=message):
        list_instances(tmp_path, "val2017")


def test_a_damaged_annotation_is_named(tmp_path: Path, body: dict[str, Any]) -> None:
    body["annotations"][0]["segmentation"] = None
    body["images"][1]["height"] = 44
    write(tmp_path, body)
    samples, _ = list_instances(tmp_path, "val2017")
    with pytest.raises(InputError, match="annotation 1 of"):
        samples[0].read()
    with pytest.raises(InputError, match="annotated at 44x60"):
        samples[1].read()
    (tmp_path / "annotations" / "instances_val2017.json").write_text("[]")
    with pytest.raises(InputError, match="holds a list"):
        list_instances(tmp_path, "val2017")
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(InputError, match="cannot read the annotations"):
        list_instances(tmp_path, "val2017")


def test_numbered_masks() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:3, 1:4], mask[4:, 5:], mask[0, 7] = 2, 1, 255
    instances = numbered(mask)
    assert instances.labels.tolist() == [1, 1, 1]
    assert instances.crowd.tolist() == [False, False, True]
    assert instances.boxes().tolist() == [[5, 4, 8, 6], [1, 1, 4, 3], [7, 0, 8, 1]]
    assert len(numbered(np.zeros((6, 8), np.uint8))) == 0


def test_penn_fudan_has_its_pedestrians(shared: Path) -> None:
    samples, names = list_instances(shared / "data" / "pennfudan", "val")
    assert names == ("background", "object")
    assert len(samples) == 42
    image, instances = samples[0].read()
    assert len(instances) >= 1
    assert instances.masks.shape[1:] == image.shape[:2]
    boxes = instances.boxes()
    assert ((boxes[:, 2] - boxes[:, 0]) > 10).all()
