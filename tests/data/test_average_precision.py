"""Average precision: cases worked by hand from COCO's definition; the computation itself is pycocotools'."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.average_precision import FIGURES, Detections, average_precision
from edgeseg.data.instances import Instances, stacked
from edgeseg.errors import UsageError

REASON = "pycocotools, of the extra train, is not installed"
COCO = pytest.importorskip("pycocotools.coco", reason=REASON).COCO
COCOeval = pytest.importorskip("pycocotools.cocoeval", reason=REASON).COCOeval

SIZE = (100, 200)


def squares(*places: tuple[int, int, int], label: int = 1, crowd: tuple[int, ...] = ()) -> Instances:
    """Squares of (left, top, side)."""
    masks = []
    for left, top, side in places:
        mask = np.zeros(SIZE, bool)
        mask[top : top + side, left : left + side] = True
        masks.append(mask)
    return stacked(masks, [label] * len(masks), [index in crowd for index in range(len(masks))], SIZE)


def found(instances: Instances, *scores: float, boxes: object = None) -> Detections:
    own = None if boxes is None else np.array(boxes, np.float32)
    return Detections(instances, np.array(scores, np.float32), own)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_all_found_is_one(kind: str) -> None:
    truth = [squares((10, 10, 40), (100, 30, 50)), squares()]
    figures = average_precision(truth, [found(truth[0], 0.6, 0.9), found(squares())], kind)  # type: ignore[arg-type]
    assert figures["ap"] == figures["ap50"] == figures["ar100"] == pytest.approx(1.0)
    assert math.isnan(figures["ap_small"])


def test_half_found_counts_at_51_of_101_recalls() -> None:
    truth = [squares((10, 10, 40), (100, 30, 50))]
    figures = average_precision(truth, [found(squares((10, 10, 40)), 0.9)])
    assert figures["ap"] == pytest.approx(51 / 101)
    assert figures["ar100"] == pytest.approx(0.5)


def test_a_false_one_of_higher_score_halves_precision() -> None:
    truth = [squares((10, 10, 40))]
    figures = average_precision(truth, [found(squares((150, 50, 40), (10, 10, 40)), 0.9, 0.5)])
    assert figures["ap"] == pytest.approx(0.5)


def test_a_shifted_square_counts_up_to_its_overlap() -> None:
    # 40 x 40 moved by 8: 32 of 48 columns are common, an IoU of 2/3, so it counts at .50, .55, .60 and .65.
    truth = [squares((10, 10, 40))]
    figures = average_precision(truth, [found(squares((18, 10, 40)), 0.9)])
    assert figures["ap50"] == pytest.approx(1.0)
    assert figures["ap75"] == pytest.approx(0.0)
    assert figures["ap"] == pytest.approx(0.4)


def test_a_crowd_is_neither_found_nor_missed() -> None:
    truth = [squares((10, 10, 40), (100, 10, 80), crowd=(1,))]
    inside = squares((10, 10, 40), (110, 20, 30))
    assert average_precision(truth, [found(inside, 0.5, 0.9)])["ap"] == pytest.approx(1.0)


def test_sizes_are_those_of_masks_not_of_boxes() -> None:
    # A thin diagonal, 90 pixels in a box of 8100, is small: found where nothing is, it spoils no other size.
    thin = np.zeros(SIZE, bool)
    thin[np.arange(5, 95), np.arange(100, 190)] = True
    truth = [squares((10, 10, 20), (40, 10, 50))]
    masks = [thin, *truth[0].masks]
    figures = average_precision(truth, [found(stacked(masks, [1] * 3, [False] * 3, SIZE), 0.9, 0.5, 0.4)])
    assert figures["ap_small"] == pytest.approx(0.5)
    assert figures["ap_medium"] == pytest.approx(1.0)


def test_classes_are_averaged() -> None:
    truth = [stacked([*squares((10, 10, 40)).masks, *squares((100, 10, 40)).masks], [1, 2], [False] * 2, SIZE)]
    assert average_precision(truth, [found(squares((10, 10, 40)), 0.9)])["ap"] == pytest.approx(0.5)


def test_nothing_found_is_zero_and_nothing_to_find_an_error() -> None:
    figures = average_precision([squares((10, 10, 40))], [found(squares())])
    assert figures["ap"] == figures["ar100"] == figures["ap_medium"] == 0.0
    assert math.isnan(figures["ap_small"])
    with pytest.raises(UsageError, match="nothing to measure"):
        average_precision([squares()], [found(squares())])
    with pytest.raises(UsageError, match="differ in number"):
        average_precision([squares()], [])


def test_given_boxes_count_where_they_lie_in_the_picture() -> None:
    # The true square ends at the left border: of a box that reaches out of it, only the part inside is compared.
    truth = [squares((0, 10, 40))]
    nowhere = squares((150, 50, 40))
    assert average_precision(truth, [found(nowhere, 0.9, boxes=[[-60, 10, 40, 50]])], "bbox")["ap"] == pytest.approx(1)
    # 40 rows of 60: an IoU of 2/3 counts at .50, .55, .60 and .65. The masks lie elsewhere.
    given = [found(nowhere, 0.9, boxes=[[0, 10, 40, 70]])]
    assert average_precision(truth, given, "bbox")["ap"] == pytest.approx(0.4)
    assert average_precision(truth, given)["ap"] == 0.0


def test_boxes_are_measured_as_pycocotools_measures_a_results_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    truth, given, results = [], [], []
    annotations: list[dict[str, object]] = []
    for image in range(6):
        places = [(int(rng.integers(0, 150)), int(rng.integers(0, 50)), int(rng.integers(20, 60))) for _ in range(4)]
        masks = squares(*places)
        corners = masks.boxes() + rng.normal(0, 4, (4, 4)).astype(np.float32)
        scores = rng.random(4).astype(np.float32)
        truth.append(masks)
        given.append(found(squares(*places), *scores, boxes=corners))
        for box, mask in zip(masks.boxes().tolist(), masks.masks, strict=True):
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            annotations.append(row | {"bbox": _sides(box), "area": float(mask.sum())})
        clipped = np.stack([corners[:, 0::2].clip(0, SIZE[1]), corners[:, 1::2].clip(0, SIZE[0])], -1).reshape(4, 4)
        for box, score in zip(clipped.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": image, "category_id": 1, "bbox": _sides(box), "score": score})
    images = [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(6)]
    body = {"images": images, "categories": [{"id": 1}], "annotations": annotations, "info": {}}
    (tmp_path / "truth.json").write_text(json.dumps(body))
    (tmp_path / "results.json").write_text(json.dumps(results))
    coco = COCO(tmp_path / "truth.json")
    evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    figures = average_precision(truth, given, "bbox")
    assert 0.2 < figures["ap"] < 0.9
    for name, place in FIGURES.items():
        assert figures[name] == pytest.approx(evaluation.stats[place], abs=1e-6) or evaluation.stats[place] == -1


def _sides(box: list[float]) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]
