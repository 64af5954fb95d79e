"""How well label maps agree with the truth. numpy only.

Most figures come from a confusion matrix: `matrix[t, p]` counts pixels of true class t that were called p. Accuracies
and IoU are defined as in Long et al. 2015 (section 4); pixels of the ignore index count nowhere. Outlines, videos and
rankings have functions of their own below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.types import IGNORE_INDEX, LabelMap

Matrix = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


def confusion_matrix(truth: LabelMap, guess: LabelMap, classes: int) -> Matrix:
    """Count pixels by true and given class.

    Args:
        truth: uint8 [H, W], class ids, 255 where nothing is known.
        guess: uint8 [H, W], class ids.
        classes: number of classes.

    Returns:
        int64 [classes, classes], rows true, columns given.

    Raises:
        UsageError: different shapes, or an id that is no class.
    """
    if truth.shape != guess.shape:
        raise UsageError("label maps differ in shape", f"{truth.shape} and {guess.shape}", "Compare equal sizes")
    # One table look-up and one count: pairs of ids as numbers below 65536.
    counts = np.bincount((truth.astype(np.uint16) * 256 + guess).ravel(), minlength=65536).reshape(256, 256)
    kept = np.delete(counts, IGNORE_INDEX, axis=0)
    if kept[classes:].any() or kept[:, classes:].any():
        worst = max(int(np.argwhere(kept).max()), classes)
        raise UsageError("a label is no class", worst, f"Ids are 0 to {classes - 1}, and 255 in the truth")
    return kept[:classes, :classes].astype(np.int64)


def pixel_accuracy(matrix: Matrix) -> float:
    """Share of pixels with the right label, 0 to 1; nan where no pixel counts."""
    return _ratio(np.trace(matrix), matrix.sum())


def accuracy_per_class(matrix: Matrix) -> Shares:
    """Recall of each class, float64 [classes]: the share of its pixels that was found; nan where it has none."""
    return _shares(np.diag(matrix), matrix.sum(axis=1))


def mean_pixel_accuracy(matrix: Matrix) -> float:
    """Mean recall over the classes that the truth has, 0 to 1."""
    return mean_of_known(accuracy_per_class(matrix))


def precision_per_class(matrix: Matrix) -> Shares:
    """Of the pixels called each class the share that is it, float64 [classes]; nan where nothing was called so."""
    return _shares(np.diag(matrix), matrix.sum(axis=0))


def iou_per_class(matrix: Matrix) -> Shares:
    """Intersection over union of each class, float64 [classes]; nan for classes that neither side has."""
    both = np.diag(matrix)
    return _shares(both, matrix.sum(axis=0) + matrix.sum(axis=1) - both)


def mean_iou(matrix: Matrix) -> float:
    """Mean IoU over the classes that occur, 0 to 1."""
    return mean_of_known(iou_per_class(matrix))


def frequency_weighted_iou(matrix: Matrix) -> float:
    """Mean IoU, each class weighted by its share of the true pixels, 0 to 1; nan where no pixel counts."""
    each = np.nan_to_num(iou_per_class(matrix))
    return _ratio(float(each @ matrix.sum(axis=1)), float(matrix.sum()))


def dice_per_class(matrix: Matrix) -> Shares:
    """Dice coefficient of each class, float64 [classes], which is also its F1; nan where neither side has any."""
    return _shares(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def foreground_iou(matrix: Matrix) -> float:
    """IoU of class 1 of two; 1 where neither the truth nor the guess has any."""
    value = float(iou_per_class(matrix)[1])
    return 1.0 if np.isnan(value) else value


def boundary_f(truth: LabelMap, guess: LabelMap, classes: int, tolerance_px: int = 3) -> Shares:
    """F-measure of each class' outline, float64 [classes] (Csurka et al. 2013).

    A pixel lies on the outline of its class where one of its four neighbours has another label. Precision is the share
    of the given outline that is within `tolerance_px` (Euclidean) of the true one, recall the reverse.

    Args:
        truth: uint8 [H, W], class ids; outlines in its ignored pixels do not count, on either side.
        guess: uint8 [H, W], class ids.
        classes: number of classes.
        tolerance_px: largest distance, pixels.

    Returns:
        0 to 1; nan where neither side has an outline of the class.
    """
    known = truth != IGNORE_INDEX
    found = np.full(classes, np.nan)
    for k in range(classes):
        mine, theirs = _outline(guess == k) & known, _outline((truth == k) | ~known) & (truth == k)
        if mine.any() and theirs.any():
            precision = _ratio((mine & _grown(theirs, tolerance_px)).sum(), mine.sum())
            recall = _ratio((theirs & _grown(mine, tolerance_px)).sum(), theirs.sum())
            found[k] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        elif mine.any() or theirs.any():
            found[k] = 0.0
    return found


def flicker_rate(label_maps: Sequence[LabelMap], truths: Sequence[LabelMap] | None = None) -> float:
    """Share of pixels whose label differs from the frame before, over all pairs of neighbouring frames, 0 to 1.

    Args:
        label_maps: uint8 [H, W] each, in order.
        truths: the true label maps; then only pixels whose true label stays the same count.
    """
    changed, counted = 0, 0
    for index in range(1, len(label_maps)):
        differs = label_maps[index] != label_maps[index - 1]
        counts = np.ones_like(differs)
        if truths is not None:
            counts = (truths[index] == truths[index - 1]) & (truths[index] != IGNORE_INDEX)
        changed, counted = changed + int((differs & counts).sum()), counted + int(counts.sum())
    return _ratio(changed, counted)


def video_consistency(truths: Sequence[LabelMap], guesses: Sequence[LabelMap], window: int) -> float:
    """VC of Miao et al. 2021 (VSPW): VC8 and VC16 for windows of 8 and 16 frames, 0 to 1.

    In each run of `window` frames, of the pixels whose true label stays the same, the share whose given label is right
    throughout; averaged over the runs.

    Raises:
        UsageError: fewer frames than the window.
    """
    if len(truths) < window or len(truths) != len(guesses):
        seen = f"{len(truths)} and {len(guesses)} frames, window {window}"
        raise UsageError("too few frames for the window, or not as many of both", seen, "Give a longer video")
    shares = []
    # For how many frames up to this one a pixel's true label has stayed the same, and the given one has been right.
    stayed, right = (np.zeros(truths[0].shape, np.int32) for _ in range(2))
    for index, (truth, guess) in enumerate(zip(truths, guesses, strict=True)):
        same = truth == truths[index - 1] if index else np.ones_like(truth, bool)
        stayed = np.where(same, stayed + 1, 1)
        right = np.where(truth == guess, right + 1, 0)
        if index + 1 >= window:
            counts = (stayed >= window) & (truth != IGNORE_INDEX)
            shares.append(_ratio(((right >= window) & counts).sum(), counts.sum()))
    return mean_of_known(np.array(shares))


def average_precision(relevant: Sequence[bool]) -> float:
    """Of a ranked list, best first: the mean, over the relevant places, of the precision up to there, 0 to 1.

    Relevant at ranks 1 and 3 of 4 gives (1/1 + 2/3) / 2 = 5/6 (Manning et al. 2008, section 8.4); nan without any.
    """
    hits = np.flatnonzero(np.asarray(relevant, bool))
    return _ratio((np.arange(1, len(hits) + 1) / (hits + 1)).sum(), len(hits))


def mean_average_precision(rankings: Sequence[Sequence[bool]]) -> float:
    """Mean of `average_precision` over the rankings that have a relevant place."""
    return mean_of_known(np.array([average_precision(ranking) for ranking in rankings], np.float64))


def _outline(area: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the area with a neighbour outside of it; the picture's border is no outline."""
    padded = np.pad(area, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return area & ~inner


def _grown(area: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """All pixels within `radius` of the area."""
    height, width = area.shape
    padded = np.pad(area, radius)
    grown = np.zeros_like(area)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                grown |= padded[radius + dy : radius + dy + height, radius + dx : radius + dx + width]
    return grown


def _shares(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Shares:
    each: Shares = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return each


def mean_of_known(values: Shares) -> float:
    """Mean of what is not nan, of any shape; nan where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
