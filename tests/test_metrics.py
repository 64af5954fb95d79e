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
    assert metrics.accuracy_per_class(matrix).tolist() == pytest.approx([2 / 3, 3 / 4])
    assert metrics.precision_per_class(matrix).tolist() == pytest.approx([2 / 3, 3 / 4])
    assert metrics.mean_pixel_accuracy(matrix) == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert metrics.frequency_weighted_iou(matrix) == pytest.approx(3 / 7 * 2 / 4 + 4 / 7 * 3 / 5)


@pytest.mark.parametrize("classes", [2, 5, 11])
def test_the_same_as_scikit_learn(classes: int) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, of the extra dev, is not installed")
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (37, 53)).astype(np.uint8)
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    matrix = metrics.confusion_matrix(truth, guess, classes)
    assert np.array_equal(matrix, sklearn_metrics.confusion_matrix(truth.ravel(), guess.ravel()))
    for mine, theirs in (("accuracy_per_class", "recall_score"), ("precision_per_class", "precision_score")):
        wanted = getattr(sklearn_metrics, theirs)(truth.ravel(), guess.ravel(), average=None)
        assert np.allclose(getattr(metrics, mine)(matrix), wanted)
    weighted = sklearn_metrics.jaccard_score(truth.ravel(), guess.ravel(), average="weighted")
    assert metrics.frequency_weighted_iou(matrix) == pytest.approx(weighted)
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


def square(top: int, left: int) -> np.ndarray:
    area = np.zeros((40, 40), np.uint8)
    area[top : top + 12, left : left + 12] = 1
    return area


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, 1.0), (20, 0.0)])
def test_outlines_within_the_tolerance(shift: int, expected: float) -> None:
    each = metrics.boundary_f(square(4, 4), square(4, 4 + shift), 3)
    assert each[:2].tolist() == pytest.approx([expected, expected])
    assert np.isnan(each[2])


@pytest.mark.parametrize("tolerance", [1, 2, 3])
def test_outlines_by_distance_transform(tolerance: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy, which scikit-learn brings, is not installed")
    rng = np.random.default_rng(3)
    truth, guess = ((ndimage.gaussian_filter(rng.random((60, 70)), 3) > 0.5).astype(np.uint8) for _ in range(2))
    truth[20:30, 20:30] = 255
    known = truth != 255
    cross = ndimage.generate_binary_structure(2, 1)

    def outline(area: np.ndarray) -> np.ndarray:
        return area & ~ndimage.binary_erosion(area, cross, border_value=1)

    mine, theirs = outline(guess == 1) & known, outline((truth == 1) | ~known) & (truth == 1)
    precision = (ndimage.distance_transform_edt(~theirs)[mine] <= tolerance).mean()
    recall = (ndimage.distance_transform_edt(~mine)[theirs] <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert metrics.boundary_f(truth, guess, 2, tolerance)[1] == pytest.approx(expected)


def test_an_outline_on_one_side_only_is_a_miss() -> None:
    assert metrics.boundary_f(square(4, 4), np.zeros((40, 40), np.uint8), 2).tolist() == [0.0, 0.0]


def frames(*rows: list[int]) -> list[np.ndarray]:
    return [np.array([row], np.uint8) for row in rows]


def test_flicker_by_hand() -> None:
    given = frames([0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0])
    assert metrics.flicker_rate(given) == pytest.approx(3 / 8)
    # Where the truth changes, or is not known, a change of the label is no flicker.
    truth = frames([0, 0, 1, 255], [0, 1, 1, 255], [0, 1, 1, 255])
    assert metrics.flicker_rate(given, truth) == pytest.approx(1 / 5)
    assert np.isnan(metrics.flicker_rate(given[:1]))


def test_video_consistency_by_hand() -> None:
    truth = frames([0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 0])
    given = frames([0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0])
    # First pair: three pixels stay, of which the second was wrong once; second pair: four stay, the last was wrong.
    assert metrics.video_consistency(truth, given, 2) == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert metrics.video_consistency(truth, given, 3) == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="too few frames"):
        metrics.video_consistency(truth, given, 4)


@pytest.mark.parametrize("window", [8, 16])
def test_video_consistency_pixel_by_pixel(window: int) -> None:
    """VC8 and VC16 of 20 small frames against their definition, written out with sets."""
    rng = np.random.default_rng(window)
    truth = np.repeat(rng.integers(0, 3, (1, 6, 7)), 20, 0).astype(np.uint8)
    # One column changes its label in frame 9, one is unknown throughout, one for a while.
    truth[9:, :, 0], truth[:, :, 1], truth[4:6, :, 2] = 2 - truth[9:, :, 0], 255, 255
    given = np.where((truth == 255) | (rng.random(truth.shape) < 0.04), 0, truth).astype(np.uint8)
    shares = []
    for start in range(20 - window + 1):
        stays, right = 0, 0
        for row, column in np.ndindex(6, 7):
            true = truth[start : start + window, row, column].tolist()
            if len(set(true)) == 1 and 255 not in true:
                stays += 1
                right += true == given[start : start + window, row, column].tolist()
        shares.append(right / stays)
    found = metrics.video_consistency(list(truth), list(given), window)
    assert 0.3 < found < 0.9
    assert found == pytest.approx(np.mean(shares))


def test_ranked_average_precision() -> None:
    assert metrics.average_precision([True, False, True, False]) == pytest.approx(5 / 6)
    assert metrics.average_precision([True, True, False]) == pytest.approx(1.0)
    assert np.isnan(metrics.average_precision([False]))
    rankings = [[True, False, True, False], [True, True, False, False], [False, False]]
    assert metrics.mean_average_precision(rankings) == pytest.approx(11 / 12)


def test_ranked_average_precision_is_scikit_learn_s() -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, of the extra dev, is not installed")
    relevant = np.random.default_rng(0).random(50) < 0.3
    wanted = sklearn_metrics.average_precision_score(relevant, -np.arange(50))
    assert metrics.average_precision(relevant.tolist()) == pytest.approx(wanted)
