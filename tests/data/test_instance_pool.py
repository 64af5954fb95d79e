"""Instances as training draws them: masks move with the picture, pasted ones cover, classes are those of the recipe."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.data.geometric import Geometric
from edgeseg.data.instance_pool import InstanceMaker, InstancePool
from edgeseg.data.photometric import Photometric
from edgeseg.data.pool import SetConfig
from edgeseg.data.scenes import Scenes
from edgeseg.errors import UsageError

STILL = Photometric(**{field.name: 0.0 for field in fields(Photometric)})
PLAIN = Geometric(plain=1.0, flip=0.0)


def numbered(folder: Path) -> Path:
    """Two people whose colours are their numbers."""
    for name in ("images", "masks"):
        (folder / "set" / name).mkdir(parents=True)
    mask = np.zeros((120, 160), np.uint8)
    mask[20:100, 20:60] = 1
    mask[30:110, 90:130] = 2
    image = np.full((120, 160, 3), 128, np.uint8)
    image[mask == 1], image[mask == 2] = (0, 0, 255), (255, 0, 0)
    for stem in "ab":
        cv2.imwrite(str(folder / "set" / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(folder / "set" / "masks" / f"{stem}.png"), mask)
    (folder / "set" / "train.txt").write_text("a b")
    return folder


def maker(folder: Path, **settings: object) -> InstanceMaker:
    pool = InstancePool(folder, SetConfig("set", cutouts=True), ("background", "person"))
    return InstanceMaker([pool], Scenes(**({"geometric": PLAIN, "photometric": STILL} | settings)))  # type: ignore[arg-type]


def test_a_plain_sample_is_the_picture_at_the_target(tmp_path: Path) -> None:
    image, instances = maker(numbered(tmp_path))(np.random.default_rng(0), (60, 80))
    assert image.shape == (60, 80, 3)
    assert instances.masks.shape == (2, 60, 80)
    assert instances.labels.tolist() == [1, 1]
    assert np.allclose(instances.boxes(), [[10, 10, 30, 50], [45, 15, 65, 55]], atol=1)


def test_masks_move_with_the_picture(tmp_path: Path) -> None:
    moving = maker(numbered(tmp_path), geometric=Geometric(plain=0.0))
    for seed in range(20):
        image, instances = moving(np.random.default_rng(seed), (96, 128))
        for mask in instances.masks:
            inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            colours = image[inner].astype(int)
            # One person: all red or all blue, and neither gray nor the other's colour.
            red = colours[:, 2] - colours[:, 0]
            assert (red > 100).all() or (red < -100).all()
            assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2


def test_beyond_the_border_there_is_nobody(tmp_path: Path) -> None:
    small = maker(numbered(tmp_path), geometric=Geometric(plain=0.0, flip=0.0, zoom=(0.5, 0.5), shift=0.3))
    for seed in range(20):
        _, instances = small(np.random.default_rng(seed), (120, 160))
        for box in instances.boxes():
            # People are 40x80 pixels; half of that, turned, sheared and stretched a little. A mirrored one beside
            # would make the box wider.
            assert box[2] - box[0] < 52 and box[3] - box[1] < 70


def test_keys_for_class_maps_are_refused(tmp_path: Path) -> None:
    numbered(tmp_path)
    with pytest.raises(UsageError, match=r"the set set: feet is for class maps"):
        InstancePool(tmp_path, SetConfig("set", feet=True), ("background", "person"))
    with pytest.raises(UsageError, match=r"scenes: empty is for class maps"):
        maker(tmp_path, empty=0.1)
    pool = InstancePool(tmp_path, SetConfig("set"), ("background", "person"))
    with pytest.raises(UsageError, match=r"paste without anything to paste.*cutouts: true"):
        InstanceMaker([pool], Scenes(paste=0.5))


def test_pasted_instances_cover_those_below(tmp_path: Path) -> None:
    pasting = maker(numbered(tmp_path), paste=1.0, people=3)
    counts = set()
    for seed in range(20):
        image, instances = pasting(np.random.default_rng(seed), (120, 160))
        assert int(instances.masks.sum(0).max()) <= 1
        assert (instances.labels == 1).all()
        assert image.shape == (120, 160, 3)
        counts.add(len(instances))
    assert max(counts) > 2


def test_what_is_hardly_left_is_not_asked_for(tmp_path: Path) -> None:
    near = maker(numbered(tmp_path), geometric=Geometric(plain=0.0, zoom=(6.0, 6.0), shift=0.5))
    areas = [m.sum() for seed in range(30) for m in near(np.random.default_rng(seed), (96, 128))[1].masks]
    assert areas and min(areas) >= 40


def test_the_same_numbers_give_the_same_sample(tmp_path: Path) -> None:
    pasting = maker(numbered(tmp_path), paste=0.5, geometric=Geometric())
    one, other = (pasting(np.random.default_rng(3), (96, 128)) for _ in range(2))
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1].masks, other[1].masks)


def coco(folder: Path) -> Path:
    (folder / "set" / "annotations").mkdir(parents=True)
    (folder / "set" / "train").mkdir()
    cv2.imwrite(str(folder / "set" / "train" / "p.png"), np.zeros((60, 80, 3), np.uint8))
    square = [[10.0, 10.0, 40.0, 10.0, 40.0, 40.0, 10.0, 40.0]]
    shared = {"image_id": 1, "segmentation": square, "iscrowd": 0}
    body = {
        "images": [{"id": 1, "file_name": "p.png", "height": 60, "width": 80}],
        "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}],
        "annotations": [
            {"id": 1, "category_id": 7} | shared,
            {"id": 2, "category_id": 3} | shared,
            {"id": 3, "category_id": 7} | shared | {"iscrowd": 1},
        ],
    }
    (folder / "set" / "annotations" / "instances_train.json").write_text(json.dumps(body))
    return folder


def test_classes_are_those_of_the_recipe(tmp_path: Path) -> None:
    coco(tmp_path)
    two = InstancePool(tmp_path, SetConfig("set"), ("background", "car", "person"))[0][1]
    assert two.labels.tolist() == [1, 2, 1]
    one = InstancePool(tmp_path, SetConfig("set"), ("background", "person"))[0][1]
    assert one.labels.tolist() == [1]
    with pytest.raises(UsageError, match=r"set has person, car; the model dog"):
        InstancePool(tmp_path, SetConfig("set"), ("background", "dog"))


def test_crowds_are_not_learned(tmp_path: Path) -> None:
    pool = InstancePool(coco(tmp_path), SetConfig("set"), ("background", "car"))
    _, instances = InstanceMaker([pool], Scenes(geometric=PLAIN))(np.random.default_rng(0), (60, 80))
    assert len(pool[0][1]) == 2 and len(instances) == 1


def test_numbers_alone_are_one_class(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no classes: set, 3 classes"):
        InstancePool(numbered(tmp_path), SetConfig("set"), ("background", "person", "car"))


def test_parts_of_a_split(tmp_path: Path) -> None:
    config = SetConfig("set", part="1/2")
    pool = InstancePool(numbered(tmp_path), config, ("background", "person"))
    assert [sample.name for sample in pool.samples] == ["b"]
    rest = InstancePool(tmp_path, replace(config, part=None, without="1/2"), ("background", "person"))
    assert [sample.name for sample in rest.samples] == ["a"]
