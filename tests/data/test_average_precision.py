"""Average precision: cases worked by hand from COCO's definition; the computation itself is pycocotools'."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeseg.data.average_precision import Detections, average_precision
from edgeseg.data.instances import Instances, stacked
from edgeseg.errors import UsageError

pytest.importorskip("pycocotools", reason="pycocotools, of the extra train, is not installed")

SIZE = (100, 200)


def squares(*places: tuple[int, int, int], label: int = 1, crowd: tuple[int, ...] = ()) -> Instances:
    """Squares of (left, top, side)."""
    masks = []
    for left, top, side in places:
        mask = np.zeros(SIZE, bool)
        mask[top : top + side, left : left + side] = True
        masks.append(mask)
    return stacked(masks, [label] * len(masks), [index in crowd for index in range(len(masks))], SIZE)


def found(instances: Instances, *scores: float) -> Detections:
    return Detections(instances, np.array(scores, np.float32))


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
