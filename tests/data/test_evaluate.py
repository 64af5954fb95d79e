"""`evaluate` on small folders: exact figures for a known model, instance numbers recognised, bad labels named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from test_folder import write_set

from edgeseg.data.evaluate import evaluate
from edgeseg.errors import InputError, UsageError
from edgeseg.types import ClassInfo, Frame, Result

CLASSES = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 175, 76)))


class Constant:
    """Says `person` for the left half of each picture."""

    classes = CLASSES

    def __call__(self, frame: np.ndarray) -> Result:
        label_map = np.zeros(frame.shape[:2], np.uint8)
        label_map[:, : frame.shape[1] // 2] = 1
        return Result(label_map, None, None, Frame(frame, 0, 0), CLASSES)


def test_figures_of_a_known_model(tmp_path: Path) -> None:
    done: list[int] = []
    report = evaluate(Constant(), write_set(tmp_path / "set"), "train", progress=lambda n, _: done.append(n))
    # 24 x 32 pictures; masks of 8 x 8 and 8 x 9 pixels from column 8 on; the left half is 24 x 16.
    first, second = 64 / (24 * 16), 64 / (24 * 16 + 8)
    body = report.to_dict()
    assert body["images"] == 2
    assert body["format"] == "labels"
    assert body["person_iou_mean_over_images"] == pytest.approx((first + second) / 2, abs=1e-6)
    assert body["iou"]["person"] == pytest.approx(128 / (2 * 24 * 16 + 8), abs=1e-6)
    assert list(body["worst_images"]) == ["b", "a"]
    assert "person_iou_mean_over_images" in report.table()
    assert done == [1, 2]


def test_instance_numbers_are_recognised(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :4], mask[:, 4:8], mask[:, 8:16] = 1, 2, 3
    cv2.imwrite(str(root / "masks" / "a.png"), mask)
    report = evaluate(Constant(), root, "train")
    assert report.format == "instances"
    assert report.per_image_iou["a"] == 1.0


def test_ids_that_are_no_instances_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    mask = np.zeros((24, 32), np.uint8)
    mask[:4] = 9
    cv2.imwrite(str(root / "masks" / "b.png"), mask)
    with pytest.raises(InputError, match="a label is no class.*b.png"):
        evaluate(Constant(), root, "train")


def test_an_unknown_format_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Known: instances, labels"):
        evaluate(Constant(), write_set(tmp_path / "set"), "train", format="coco")


def test_the_report_draws_the_worst(tmp_path: Path) -> None:
    evaluate(Constant(), write_set(tmp_path / "set"), "train", report_dir=tmp_path / "report")
    names = sorted(p.name for p in (tmp_path / "report").iterdir())
    assert [name.split("-")[2] for name in names] == ["b", "a"]
    assert cv2.imread(str(tmp_path / "report" / names[0])).shape == (24, 32, 3)


def test_values_are_read_by_the_set_s_class_list(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "classes.txt").write_text("0 void\n1 person")
    # The left half is all that the model says; of what counts, the person's pixels, everything is found.
    report = evaluate(Constant(), root, "train")
    assert report.matrix[0].sum() == 0
    assert report.matrix[1].sum() == 64 + 72


def test_camvid_is_not_taken_for_instances(shared: Path) -> None:
    with pytest.raises(InputError, match="a class that the model has not: Sky"):
        evaluate(Constant(), shared / "data" / "camvid", "val")
