"""Metrics against a case worked by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg import metrics
from edgeseg.errors import UsageError


def test_a_case_worked_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 1, 1, 255]], np.uint8)
    guess = np.array([[0, 1, 1, 1], [0, 0, 1, 1]], np.uint8)
    matrix = metrics.confusion_matrix(truth, guess, 2)
    assert matrix.tolist() == [[2, 1], [1, 3]]
    assert metrics.pixel_accuracy(matrix) == pytest.approx(5 / 7)
    assert metrics.iou_per_class(matrix).tolist() == pytest.approx([2 / 4, 3 / 5])
    assert metrics.mean_iou(matrix) == pytest.approx(0.55)
    assert metrics.dice_per_class(matrix).tolist() == pytest.approx([4 / 6, 6 / 8])
    assert metrics.foreground_iou(matrix) == pytest.approx(0.6)


@pytest.mark.parametrize("classes", [2, 5, 11])
def test_the_same_as_scikit_learn(classes: int) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, of the extra dev, is not installed")
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (37, 53)).astype(np.uint8)
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    matrix = metrics.confusion_matrix(truth, guess, classes)
    assert np.array_equal(matrix, sklearn_metrics.confusion_matrix(truth.ravel(), guess.ravel()))
    each = sklearn_metrics.jaccard_score(truth.ravel(), guess.ravel(), average=None)
    assert np.allclose(metrics.iou_per_class(matrix), each)
    assert np.allclose(
        metrics.dice_per_class(matrix), sklearn_metrics.f1_score(truth.ravel(), guess.ravel(), average=None)
    )


def test_a_class_that_nobody_has_is_left_out_of_the_mean() -> None:
    matrix = np.diag([5, 0, 3]).astype(np.int64)
    assert np.isnan(metrics.iou_per_class(matrix)[1])
    assert metrics.mean_iou(matrix) == 1.0


def test_nobody_in_view_and_nobody_found_is_right() -> None:
    empty = np.zeros((4, 4), np.uint8)
    assert metrics.foreground_iou(metrics.confusion_matrix(empty, empty, 2)) == 1.0


@pytest.mark.parametrize(("truth_id", "guess_id"), [(2, 0), (0, 2), (0, 255), (254, 0)])
def test_an_id_that_is_no_class_is_an_error(truth_id: int, guess_id: int) -> None:
    truth, guess = np.full((2, 2), truth_id, np.uint8), np.full((2, 2), guess_id, np.uint8)
    with pytest.raises(UsageError, match="a label is no class"):
        metrics.confusion_matrix(truth, guess, 2)


def test_different_shapes_are_an_error() -> None:
    with pytest.raises(UsageError, match="differ in shape"):
        metrics.confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
