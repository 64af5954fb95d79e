"""The reader of image and mask folders: both layouts, and each way in which a folder can be wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.data.folder import list_samples, read_pair
from edgeseg.errors import InputError


def write_set(root: Path, stems: tuple[str, ...] = ("a", "b"), size: tuple[int, int] = (24, 32)) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, stem in enumerate(stems):
        image = np.full((*size, 3), 40 * (number + 1), np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[4:12, 8 : 16 + number] = 1
        cv2.imwrite(str(root / "images" / f"{stem}.jpg"), image)
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    (root / "train.txt").write_text("\n".join(stems) + "\n")
    return root


def test_images_beside_masks_and_a_split_file(tmp_path: Path) -> None:
    samples = list_samples(write_set(tmp_path / "set", ("b", "a")), "train")
    assert [sample.stem for sample in samples] == ["b", "a"]
    image, mask = read_pair(samples[1])
    assert image.shape == (24, 32, 3)
    assert int(mask.sum()) == 8 * 9


def test_a_folder_for_each_split(tmp_path: Path) -> None:
    write_set(tmp_path / "set" / "val")
    (tmp_path / "set" / "val" / "masks").rename(tmp_path / "set" / "val" / "labels")
    assert [sample.stem for sample in list_samples(tmp_path / "set", "val")] == ["a", "b"]


def test_real_sets_are_read(shared: Path) -> None:
    assert len(list_samples(shared / "data" / "portraits-eg1800", "test")) == 262
    assert len(list_samples(shared / "data" / "camvid", "val")) == 101
    image, mask = read_pair(list_samples(shared / "data" / "person-ccp", "val")[0])
    assert image.shape[:2] == mask.shape
    assert set(np.unique(mask)) == {0, 1}


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data folder not found"):
        list_samples(tmp_path / "nothing", "train")


def test_an_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown data layout: .*images/ \+ masks/ \+ test.txt"):
        list_samples(write_set(tmp_path / "set"), "test")


def test_an_empty_split(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "train.txt").write_text("")
    with pytest.raises(InputError, match="no pictures"):
        list_samples(root, "train")


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "masks" / "b.png").unlink()
    with pytest.raises(InputError, match="b.png"):
        list_samples(root, "train")


def test_a_corrupt_picture_is_named(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "images" / "a.jpg").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="not a readable picture.*a.jpg"):
        read_pair(list_samples(root, "train")[0])


@pytest.mark.parametrize("shape", [(24, 31), (24, 32, 3)])
def test_a_mask_of_another_shape_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    root = write_set(tmp_path / "set")
    cv2.imwrite(str(root / "masks" / "a.png"), np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="a.png"):
        read_pair(list_samples(root, "train")[0])
