"""Small sets in the layouts as they are published, each with its pitfalls: other ids, palettes, stacks, suffixes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.data.folder import list_samples, read_pair
from edgeseg.data.masks import read_mask
from edgeseg.errors import InputError


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)
    return path


def picture(value: int = 90) -> np.ndarray:
    return np.full((6, 8, 3), value, np.uint8)


def mask(*values: int) -> np.ndarray:
    """6 x 8, a column for each value, the first value in the rest."""
    area = np.full((6, 8), values[0], np.uint8)
    area[:, : len(values)] = values
    return area


def test_cityscapes_label_ids_become_train_ids(tmp_path: Path) -> None:
    name = "aachen_000000_000019"
    write(tmp_path / "leftImg8bit/val/aachen" / f"{name}_leftImg8bit.png", picture())
    # 7 road, 26 car, 33 bicycle; 3 out of roi, 29 caravan and 30 trailer are not evaluated.
    write(tmp_path / "gtFine/val/aachen" / f"{name}_gtFine_labelIds.png", mask(7, 26, 33, 3, 29, 30))
    write(tmp_path / "gtFine/val/aachen" / f"{name}_gtFine_color.png", picture())
    (sample,) = list_samples(tmp_path, "val")
    assert sample.stem == f"{name}_leftImg8bit"
    assert read_pair(sample)[1][0, :6].tolist() == [0, 13, 18, 255, 255, 255]


def voc(root: Path) -> Path:
    """One picture with an indexed label map, written by Pillow as VOC's are: indices 0, 15 and 255."""
    image = pytest.importorskip("PIL.Image", reason="Pillow, which torchvision brings, is not installed")
    write(root / "JPEGImages" / "2007_000032.jpg", picture())
    write(root / "JPEGImages" / "2007_000039.jpg", picture())
    (root / "SegmentationClass").mkdir()
    indexed = image.fromarray(mask(0, 15, 255), mode="P")
    colours = [(0, 0, 0)] * 256
    for index in range(256):
        # The palette of the VOC development kit: bits of the index, dealt out to red, green and blue.
        bits = [sum(((index >> (3 * k + channel)) & 1) << (7 - k) for k in range(8)) for channel in range(3)]
        colours[index] = (bits[0], bits[1], bits[2])
    indexed.putpalette([value for colour in colours for value in colour])
    indexed.save(root / "SegmentationClass" / "2007_000032.png")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000032\n")
    return root


def test_voc_indices_not_colours(tmp_path: Path) -> None:
    (sample,) = list_samples(voc(tmp_path), "val")
    assert read_pair(sample)[1][0, :4].tolist() == [0, 15, 255, 0]


def test_an_indexed_file_whose_palette_is_short(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow, which torchvision brings, is not installed")
    indexed = image.fromarray(mask(0, 1, 2), mode="P")
    indexed.putpalette([9, 9, 9, 1, 2, 3, 200, 100, 0])
    indexed.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png")[0, :4].tolist() == [0, 1, 2, 0]


def test_penn_fudan_as_published_has_no_splits(tmp_path: Path) -> None:
    for stem, count in (("FudanPed00001", 2), ("PennPed00002", 1)):
        write(tmp_path / "PNGImages" / f"{stem}.png", picture())
        write(tmp_path / "PedMasks" / f"{stem}_mask.png", mask(*range(count + 1)))
    samples = list_samples(tmp_path, "train")
    assert [sample.stem for sample in samples] == ["FudanPed00001", "PennPed00002"]
    assert read_pair(samples[0])[1].max() == 2
    (tmp_path / "val.txt").write_text("PennPed00002")
    assert [sample.stem for sample in list_samples(tmp_path, "val")] == ["PennPed00002"]


def test_lgg_slices_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for patient in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"):
        for number in (1, 2, 10):
            base = tmp_path / "kaggle_3m" / patient / f"{patient}_{number}"
            write(Path(f"{base}.tif"), picture(number))
            write(Path(f"{base}_mask.tif"), mask(0, 255))
    samples = list_samples(tmp_path, "train")
    assert [sample.stem.rpartition("_")[2] for sample in samples] == ["1", "2", "10"] * 2
    image, values = read_pair(samples[2])
    assert int(image[0, 0, 0]) == 10
    assert np.unique(values).tolist() == [0, 1]
    (tmp_path / "val.txt").write_text("TCGA_DU_5849_19950405")
    assert {sample.image.parent.name for sample in list_samples(tmp_path, "val")} == {"TCGA_DU_5849_19950405"}


def test_isbi_s_stacks(tmp_path: Path) -> None:
    volume = [np.full((6, 8), value, np.uint8) for value in (10, 20, 30)]
    labels = [mask(0, *([255] * k)) for k in (1, 2, 3)]
    assert cv2.imwritemulti(str(tmp_path / "train-volume.tif"), volume)
    assert cv2.imwritemulti(str(tmp_path / "train-labels.tif"), labels)
    samples = list_samples(tmp_path, "train")
    assert [sample.stem for sample in samples] == ["train-volume", "train-volume-1", "train-volume-2"]
    for number, sample in enumerate(samples):
        image, values = read_pair(sample)
        assert int(image[0, 0, 0]) == 10 * (number + 1)
        assert int(values.sum()) == 6 * (number + 1)
    assert cv2.imwritemulti(str(tmp_path / "train-labels.tif"), labels[:2])
    with pytest.raises(InputError, match="differ in length"):
        list_samples(tmp_path, "train")


@pytest.mark.parametrize("file", ["PedMasks/a_mask.png", "PNGImages/a.png"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, file: str) -> None:
    write(tmp_path / "PNGImages" / "a.png", picture())
    write(tmp_path / "PedMasks" / "a_mask.png", mask(0))
    (tmp_path / "train.txt").write_text("a")
    assert len(list_samples(tmp_path, "train")) == 1
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match="missing: .*/a"):
        list_samples(tmp_path, "train")


def test_what_was_looked_for_names_every_layout(tmp_path: Path) -> None:
    expected = r"test/images.*test.txt.*leftImg8bit/test.*ImageSets.*PedMasks.*TCGA.*test-volume"
    with pytest.raises(InputError, match=expected):
        list_samples(tmp_path, "test")
