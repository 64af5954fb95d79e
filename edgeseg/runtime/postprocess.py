"""From a model's outputs to a label map at the frame's own size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy.typing as npt

from edgeseg.errors import ModelError, UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.reuse import ReusedArrays
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import Instances, LabelMap, Probability


def threshold_byte(threshold: float) -> int:
    """The smallest byte b of a probability map with b / 255 >= threshold: 128 for 0.5, as in the model file.

    Args:
        threshold: probability from 0 (all is foreground) to 1 (only what is certain).

    Raises:
        UsageError: threshold outside 0 to 1.
    """
    if not 0.0 <= threshold <= 1.0:
        raise UsageError("the threshold is outside 0 to 1", threshold, "Give a probability, 0.5 for example")
    # A hair less, because 255 * t can come out a hair above the integer that it stands for.
    return math.ceil(threshold * 255 - 1e-9)


class Answer(NamedTuple):
    """What a model says of one frame, before it becomes a Result; see there."""

    label_map: LabelMap
    probability: Probability | None
    instances: Instances | None = None


class Postprocessor:
    """Makes label maps of one semantic model's outputs. Threads may share it.

    Args:
        manifest: the model's manifest.
        threshold: foreground probability from which the label of a two-class model is 1; the manifest's unless given.

    Raises:
        UsageError: a threshold outside 0 to 1, or one for a model without `probability`.
        ModelError: no semantic model.
    """

    def __init__(self, manifest: Manifest, threshold: float | None = None) -> None:
        if manifest.task != "semantic":
            raise ModelError("not a semantic model", f"{manifest.name} ({manifest.task})", "Use a semantic one")
        if threshold is not None and not manifest.two_class:
            raise UsageError("the model has no foreground probability for a threshold", manifest.name, "Leave it out")
        self.two_class = manifest.two_class
        self.threshold = manifest.threshold if threshold is None else threshold
        self._first = threshold_byte(self.threshold)
        self.outputs = ("probability" if self.two_class else "label_map",)
        self._arrays = ReusedArrays()

    def __call__(self, outputs: Mapping[str, npt.NDArray[Any]], geometry: Geometry | Tiling) -> Answer:
        """Bring one frame's output to the size of the frame.

        Args:
            outputs: the model's outputs by name; only the one that the attribute `outputs` names is read: `probability`
                uint8 [1, H, W] of a two-class model, `label_map` uint8 [1, H, W] of another; [n, h, w] of n tiles.
            geometry: from the preprocessor.

        Returns:
            label_map uint8 [h, w] and probability uint8 [h, w] (None with more than two classes) of the frame's size,
            arrays that nobody else holds. The probability is resized bilinearly and then cut at the threshold, which
            draws smoother borders than a resized label map; labels of more classes are resized to the nearest pixel.
        """
        import cv2

        values = geometry.map_of(outputs[self.outputs[0]])
        size = (geometry.frame_width, geometry.frame_height)
        # A resize to the same size still copies.
        target = self._arrays.take(size[::-1])
        if not self.two_class:
            labels = cv2.resize(values, size, dst=target, interpolation=cv2.INTER_NEAREST_EXACT)
            return Answer(cast(LabelMap, labels), None)
        probability = cast(Probability, cv2.resize(values, size, dst=target, interpolation=cv2.INTER_LINEAR))
        # cv2 compares with `greater than`; -1 lets everything pass.
        target = self._arrays.take(size[::-1])
        _, label_map = cv2.threshold(probability, self._first - 1, 1, cv2.THRESH_BINARY, dst=target)
        return Answer(cast(LabelMap, label_map), probability)
