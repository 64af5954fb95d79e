"""Instances found, missed and made up: cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeseg.data.average_precision import Detections
from edgeseg.data.found import Found, compare
from edgeseg.data.instances import Instances, stacked

pytest.importorskip("pycocotools", reason="pycocotools, of the extra train, is not installed")

SIZE = (40, 200)


def squares(*places: tuple[int, int], crowd: tuple[int, ...] = ()) -> Instances:
    """Squares of 40 by 40 at (left, class)."""
    masks = []
    for left, _ in places:
        mask = np.zeros(SIZE, bool)
        mask[:, left : left + 40] = True
        masks.append(mask)
    return stacked(masks, [label for _, label in places], [k in crowd for k in range(len(masks))], SIZE)


def compared(truth: Instances, *given: tuple[int, int, float]) -> Found:
    """Answers of (left, class, score); three classes, scores from 0.5 on."""
    instances = squares(*((left, label) for left, label, _ in given))
    scores = np.array([score for *_, score in given], np.float32)
    return compare(truth, Detections(instances, scores), 3, 0.5)


def test_found_missed_false_and_of_another_class() -> None:
    # At 0 found with an IoU of 30/50, at 60 called the other class, at 150 missed; one answer where nothing is.
    found = compared(squares((0, 1), (60, 2), (150, 2)), (10, 1, 0.9), (60, 1, 0.8), (110, 2, 0.7), (150, 2, 0.4))
    assert found.matrix.tolist() == [[0, 0, 1], [0, 1, 0], [1, 1, 0]]
    assert (found.right, found.wrong_class, found.missed, found.false) == (1, 1, 1, 1)
    # 0.6 over one right, one wrong on both sides, half a missed one and half a false one.
    assert found.quality == pytest.approx(0.6 / 3)
    both = found + found
    assert both.matrix.tolist() == [[0, 0, 2], [0, 2, 0], [2, 2, 0]] and both.quality == pytest.approx(0.6 / 3)


def test_an_instance_is_found_once_by_the_best_answer() -> None:
    # Whatever the order in which they are given: the answer of 0.9 with its IoU of 0.6, not the exact one.
    found = compared(squares((0, 1)), (0, 1, 0.6), (10, 1, 0.9))
    assert found.matrix.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.overlap == pytest.approx(0.6)


def test_its_own_class_comes_before_a_better_score() -> None:
    found = compared(squares((0, 1)), (0, 2, 0.9), (0, 1, 0.6))
    assert found.matrix.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_an_iou_of_less_than_a_half_is_not_found() -> None:
    # 26 of 54 columns.
    found = compared(squares((0, 1)), (14, 1, 0.9))
    assert (found.right, found.missed, found.false, found.quality) == (0, 1, 1, 0.0)


def test_a_crowd_is_neither_found_nor_missed_and_hides_answers_of_its_class() -> None:
    truth = squares((0, 1), crowd=(0,))
    assert not compared(truth, (10, 1, 0.9), (20, 1, 0.9)).matrix.any()
    assert compared(truth, (10, 2, 0.9), (21, 1, 0.9)).matrix[0].tolist() == [0, 1, 1]


def test_nothing_to_find_and_nothing_found() -> None:
    assert math.isnan(compared(squares()).quality)
    assert compared(squares((0, 2))).matrix[2].tolist() == [1, 0, 0]
    assert compared(squares(), (0, 2, 0.5)).matrix[0].tolist() == [0, 0, 1]
