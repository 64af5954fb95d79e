"""How well label maps agree with the truth. numpy only.

All figures come from a confusion matrix: `matrix[t, p]` counts pixels of true class t that were called p.
Definitions as in Long et al. 2015 (section 4) for accuracy and IoU; pixels of the ignore index count nowhere.
"""

from __future__ import annotations

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


def iou_per_class(matrix: Matrix) -> Shares:
    """Intersection over union of each class, float64 [classes]; nan for classes that neither side has."""
    both = np.diag(matrix).astype(np.float64)
    either = matrix.sum(axis=0) + matrix.sum(axis=1) - both
    each: Shares = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return each


def mean_iou(matrix: Matrix) -> float:
    """Mean IoU over the classes that occur, 0 to 1."""
    each = iou_per_class(matrix)
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def dice_per_class(matrix: Matrix) -> Shares:
    """Dice coefficient (F1) of each class, float64 [classes]; nan for classes that neither side has."""
    both = np.diag(matrix).astype(np.float64)
    total = (matrix.sum(axis=0) + matrix.sum(axis=1)).astype(np.float64)
    each: Shares = np.divide(2.0 * both, total, out=np.full(len(both), np.nan), where=total > 0)
    return each


def foreground_iou(matrix: Matrix) -> float:
    """IoU of class 1 of two; 1 where neither the truth nor the guess has any."""
    value = float(iou_per_class(matrix)[1])
    return 1.0 if np.isnan(value) else value


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
