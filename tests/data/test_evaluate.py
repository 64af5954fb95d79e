"""`evaluate` on small folders: exact figures for a known model, instance numbers recognised, bad labels named."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_folder import write_set

from edgeseg.data.evaluate import evaluate
from edgeseg.data.page import page
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
    # All of the person was found; the background lost what was called person besides.
    assert body["recall_per_class"]["person"] == pytest.approx(128 / 136, abs=1e-6)
    assert body["precision_per_class"]["person"] == pytest.approx(128 / 768, abs=1e-6)
    assert body["dice"]["person"] == pytest.approx(2 * 128 / (768 + 136), abs=1e-6)
    assert "boundary_f" not in body
    assert list(body["worst_images"]) == ["b", "a"]
    assert "person_iou_mean_over_images" in report.table()
    assert done == [1, 2]


def test_outlines_are_measured_where_asked_for(tmp_path: Path) -> None:
    class Right(Constant):
        def __call__(self, frame: np.ndarray) -> Result:
            return Result(next(truths), None, None, Frame(frame, 0, 0), CLASSES)

    root = write_set(tmp_path / "set")
    masks = [cv2.imread(str(root / "masks" / f"{stem}.png"), cv2.IMREAD_GRAYSCALE) for stem in "ab"]
    truths = iter(masks)
    assert evaluate(Right(), root, "train", boundary_px=1).to_dict()["boundary_f"] == {"background": 1.0, "person": 1.0}
    # One picture right, in the other nobody is found: the mean of 1 and 0.
    truths = iter([masks[0], np.zeros_like(masks[1])])
    assert evaluate(Right(), root, "train", boundary_px=1).to_dict()["boundary_f"]["person"] == 0.5


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


class Links(HTMLParser):
    """Pictures that a page shows, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.files.append(str(dict(attrs)["src"]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_shows_figures_and_the_worst(tmp_path: Path) -> None:
    report = evaluate(Constant(), write_set(tmp_path / "set"), "train", report_dir=tmp_path / "report")
    found = Links()
    found.feed((tmp_path / "report" / "index.html").read_text())
    assert [name.split("-")[2] for name in found.files] == ["b", "a"]
    assert {*found.files, "index.html"} == {p.name for p in (tmp_path / "report").iterdir()}
    strip = cv2.imread(str(tmp_path / "report" / found.files[0]))
    assert strip.shape == (24, 96, 3)
    # Picture b is flat; result and truth are drawn over it.
    assert len(np.unique(strip[:, :32])) <= 3 < len(np.unique(strip[:, 32:64]))
    for value in report.to_dict()["iou"].values():
        assert f"{value:.4f}" in found.words
    # All of the true person was called so, or background.
    called = report.matrix[1] / report.matrix[1].sum()
    assert f"{100 * called[1]:.1f}" in found.words


def test_names_are_escaped(tmp_path: Path) -> None:
    names = ("<script>", "b & c", "d")
    classes = tuple(ClassInfo(k, name, (9, 9, 9)) for k, name in enumerate(names))
    iou = dict(zip(names, (0.5, None, 0.25), strict=True))
    text = page("<x>", {"iou": iou}, classes, np.eye(3, dtype=np.int64), [])
    assert "<script>" not in text and "&lt;script&gt;" in text and "b &amp; c" in text and "–" in text


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
