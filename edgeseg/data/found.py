"""Which instances were found, missed or made up: a detector's confusion matrix, at one IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeseg.data.average_precision import Detections, encoded
from edgeseg.data.instances import Instances
from edgeseg.metrics import Matrix

# Masks that overlap by less are not of the same instance.
SAME_FROM = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the instances of one picture, or of several.

    Attributes:
        matrix: int64 [classes, classes], instances by true and given class. Class 0 is no instance: column 0 counts the
            missed ones, row 0 answers where nothing is.
        overlap: sum of the IoUs of those that were found and called right.
    """

    matrix: Matrix
    overlap: float

    @property
    def right(self) -> int:
        """How many were found and called by their class."""
        return int(np.trace(self.matrix))

    @property
    def wrong_class(self) -> int:
        """How many were found and called something else."""
        return int(self.matrix[1:, 1:].sum()) - self.right

    @property
    def missed(self) -> int:
        """How many were not found."""
        return int(self.matrix[:, 0].sum())

    @property
    def false(self) -> int:
        """How many answers there are where nothing is."""
        return int(self.matrix[0].sum())

    @property
    def quality(self) -> float:
        """Panoptic quality of all classes as one, 0 to 1 (Kirillov et al. 2019); nan without instance and answer.

        The sum of the IoUs over right + half of what is only given + half of what is only true; an instance of the
        wrong class is one of each.
        """
        whole = self.right + self.wrong_class + (self.missed + self.false) / 2
        return self.overlap / whole if whole else float("nan")

    def __add__(self, other: Found) -> Found:
        return Found(self.matrix + other.matrix, self.overlap + other.overlap)


def compare(truth: Instances, given: Detections, classes: int, threshold: float) -> Found:
    """Pair the instances of one picture with the answers of a score from `threshold` on.

    The best answer first, each takes the free instance of its class that it overlaps most, with an IoU of at least
    one half; what is left then pairs in the same way with instances of other classes. An answer of which half lies in
    a crowd of its class counts nowhere.

    Args:
        truth: with the model's class ids.
        given: masks of the same size.
        classes: number of classes, the background counted.
        threshold: 0 to 1.
    """
    from pycocotools import mask as runs

    matrix, overlap = np.zeros((classes, classes), np.int64), 0.0
    best_first = np.argsort(-given.scores, kind="stable")
    sure = best_first[given.scores[best_first] >= threshold]
    labels = given.instances.labels[sure]
    shape = (len(sure), len(truth))
    # For a crowd this is the share of the answer that lies in it.
    shares = runs.iou(encoded(given.instances.masks[sure]), encoded(truth.masks), truth.crowd.tolist())
    fits = np.asarray(shares, np.float64).reshape(shape)
    same = labels[:, None] == truth.labels[None]
    free, left = ~truth.crowd, np.ones(len(sure), bool)
    for right in (True, False):
        for place in np.flatnonzero(left):
            able = np.where(free & (same[place] == right), fits[place], 0.0)
            if len(truth) and able.max() >= SAME_FROM:
                taken = int(able.argmax())
                free[taken] = left[place] = False
                matrix[truth.labels[taken], labels[place]] += 1
                overlap += float(able[taken]) if right else 0.0
    for label in truth.labels[free]:
        matrix[label, 0] += 1
    in_crowd = (same & truth.crowd & (fits >= SAME_FROM)).any(axis=1)
    for label in labels[left & ~in_crowd]:
        matrix[0, label] += 1
    return Found(matrix, overlap)
