"""Average precision of an instance model's answers, through the command's own way: perfect, half right, wrong class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_evaluate import Links

from edgeseg.cli.main import main
from edgeseg.data.evaluate_instances import evaluate_instances
from edgeseg.data.instances import list_instances
from edgeseg.errors import OutputError
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
    assert body["mask_ap"] == body["mask_ap50"] == body["box_ap"] == pytest.approx(1.0)
    assert body["mask_ap_small"] is None
    assert "mask  1.0000" in report.table()


def test_one_of_two_found_is_a_recall_of_one_half(folder: Path) -> None:
    body = evaluate_instances(Answers(BOXES[:1], [0.9], [1]), folder, "val").to_dict()
    assert body["mask_ar100"] == pytest.approx(0.5)
    # Precision 1 at the 51 of 101 recalls up to one half.
    assert body["mask_ap50"] == pytest.approx(51 / 101)


def test_nothing_found_scores_nothing(folder: Path) -> None:
    body = evaluate_instances(Answers([], [], []), folder, "val").to_dict()
    assert body["mask_ap"] == body["box_ap"] == 0.0


def test_an_answer_shifted_by_a_third_counts_up_to_that_overlap(folder: Path) -> None:
    shifted = BOXES + np.array([10, 0, 10, 0], np.float32)
    body = evaluate_instances(Answers(shifted, [0.9, 0.8], [1, 1]), folder, "val").to_dict()
    # Boxes of 30 and 40 columns, moved by 10: IoU 20/40 = 0.5 and 30/50 = 0.6.
    assert body["mask_ap50"] == body["box_ap50"] == pytest.approx(1.0)
    assert body["mask_ap75"] == body["box_ap75"] == 0.0


def test_boxes_are_the_model_s_own_not_those_of_its_masks(folder: Path) -> None:
    # Masks of the left third of each box: the boxes are exact, the masks and their tight boxes are not.
    model = Answers(BOXES, [0.9, 0.8], [1, 1])
    model.found.mask_probabilities[:, :, 10:] = 0
    body = evaluate_instances(model, folder, "val").to_dict()
    assert body["box_ap"] == pytest.approx(1.0) and body["mask_ap50"] == 0.0


def test_the_page_shows_precision_counts_and_the_worst_pictures(folder: Path, tmp_path: Path) -> None:
    # The first found, the second too small to be it; one where nobody is, one below the threshold.
    boxes = np.array([*BOXES[:1], [60, 20, 100, 40], [0, 62, 50, 80], BOXES[1]], np.float32)
    model = Answers(boxes, [0.9, 0.8, 0.7, 0.2], [1] * 4)
    report = evaluate_instances(model, folder, "val", threshold=0.5, report_dir=tmp_path / "report")
    body = report.to_dict()
    assert body["counts"] == {"score": 0.5, "iou": 0.5, "found": 2, "wrong_class": 0, "missed": 2, "false": 4}
    # Of each picture: an IoU of 1 over one found, half a missed one, two halves of false ones.
    assert body["worst_images"] == {"a": 0.4, "b": 0.4}
    assert "2 found, 0 wrong class, 2 missed, 4 false" in report.table()
    page = Links()
    page.feed((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert page.files == ["worst-0-a-pq0.400.png", "worst-1-b-pq0.400.png"]
    assert {*page.files, "index.html"} == {path.name for path in (tmp_path / "report").iterdir()}
    for word in ("mask ap50", f"{body['mask_ap50']:.4f}", "person", "missed", "nothing there"):
        assert word in page.words
    place = page.words.index("true / given")
    assert page.words[place + 1 : place + 8] == ["person", "missed", "person", "2", "2", "nothing there", "4"]
    picture, result, truth = np.hsplit(cv2.imread(str(tmp_path / "report" / page.files[0])), 3)
    assert (picture == 90).all()
    inside = {"found": (35, 25), "lower half of the second": (60, 80), "where nobody is": (71, 25), "nothing": (5, 5)}
    drawn = {name: (bool((result[at] != 90).any()), bool((truth[at] != 90).any())) for name, at in inside.items()}
    assert drawn == {
        "found": (True, True),
        "lower half of the second": (False, True),
        "where nobody is": (True, False),
        "nothing": (False, False),
    }


def test_eval_of_the_shipped_model_writes_its_page(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data" / "pennfudan"
    stems = (data / "val.txt").read_text().split()[:2]
    for name in ("images", "masks"):
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few" / name).symlink_to(data / name)
    (tmp_path / "few" / "val.txt").write_text(" ".join(stems))
    words = ["eval", "--model", "pedestrian", "--backend", "onnxruntime", "--precision", "fp32", "--split", "val"]
    words += ["--data", str(tmp_path / "few"), "--json", "-", "--report", str(tmp_path / "report")]
    assert main(words) == 0
    figures = json.loads(capsys.readouterr().out)
    counts = figures["counts"]
    people = sum(len(sample.read()[1]) for sample in list_instances(tmp_path / "few", "val")[0])
    assert counts["found"] + counts["missed"] == people == figures["instances"]
    assert counts["found"] >= people / 2
    page = Links()
    page.feed((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    assert len(page.files) == 2 and all((tmp_path / "report" / file).is_file() for file in page.files)
    place = page.words.index("true / given")
    names = ["person", "missed", "person"]
    assert page.words[place + 1 : place + 6] == [*names, str(counts["found"]), str(counts["missed"])]


def test_a_report_that_cannot_be_written_is_said(folder: Path) -> None:
    with pytest.raises(OutputError, match="cannot write the report"):
        evaluate_instances(Answers(BOXES, [0.9, 0.8], [1, 1]), folder, "val", report_dir=folder / "val.txt")
