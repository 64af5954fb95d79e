"""Average precision of an instance model's answers, through the command's own way: perfect, half right, wrong class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.data.evaluate_instances import evaluate_instances
from edgeseg.types import ClassInfo, Frame, Instances, Result

CLASSES = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (0, 0, 255)))
BOXES = np.array([[10, 10, 40, 60], [60, 20, 100, 70]], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people a picture, right-angled ones, so that a full 28x28 mask pastes to them exactly."""
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    mask = np.zeros((80, 120), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(BOXES.astype(int), start=1):
        mask[y1:y2, x1:x2] = number
    for stem in "ab":
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{stem}.png"), np.full((80, 120, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "set" / "masks" / f"{stem}.png"), mask)
    (tmp_path / "set" / "val.txt").write_text("a b")
    return tmp_path / "set"


class Answers:
    """Stands for a segmenter: the same answer to every picture."""

    classes = CLASSES

    def __init__(self, boxes: Any, scores: Any, labels: Any) -> None:
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        masks = np.ones((len(boxes), 28, 28), np.float32)
        self.found = Instances(boxes, np.array(scores, np.float32), np.array(labels, np.int32), masks, (80, 120))

    def __call__(self, frame: Any) -> Result:
        return Result(np.zeros((80, 120), np.uint8), None, self.found, Frame(frame, 0, 0), CLASSES)


def test_perfect_answers_score_one(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = evaluate_instances(Answers(BOXES, [0.9, 0.8], [1, 1]), folder, "val", lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    assert (report.images, report.instances) == (2, 4)
    body = report.to_dict()
    assert body["mask_ap"] == body["mask_ap50"] == body["mask_box_ap"] == pytest.approx(1.0)
    assert body["mask_ap_small"] is None
    assert "mask  1.0000" in report.table()


def test_one_of_two_found_is_a_recall_of_one_half(folder: Path) -> None:
    body = evaluate_instances(Answers(BOXES[:1], [0.9], [1]), folder, "val").to_dict()
    assert body["mask_ar100"] == pytest.approx(0.5)
    # Precision 1 at the 51 of 101 recalls up to one half.
    assert body["mask_ap50"] == pytest.approx(51 / 101)


def test_nothing_found_scores_nothing(folder: Path) -> None:
    body = evaluate_instances(Answers([], [], []), folder, "val").to_dict()
    assert body["mask_ap"] == body["mask_box_ap"] == 0.0


def test_an_answer_shifted_by_a_third_counts_up_to_that_overlap(folder: Path) -> None:
    shifted = BOXES + np.array([10, 0, 10, 0], np.float32)
    body = evaluate_instances(Answers(shifted, [0.9, 0.8], [1, 1]), folder, "val").to_dict()
    # Boxes of 30 and 40 columns, moved by 10: IoU 20/40 = 0.5 and 30/50 = 0.6.
    assert body["mask_ap50"] == pytest.approx(1.0)
    assert body["mask_ap75"] == 0.0
