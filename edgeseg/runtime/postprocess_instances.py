"""From an instance model's outputs to instances in pixels of the frame, and a label map of the best ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError, UsageError
from edgeseg.instance_masks import paint
from edgeseg.manifest import INSTANCE_OUTPUTS, Manifest
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.postprocess import Answer
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import Instances


class InstancePostprocessor:
    """Makes instances of one model's outputs. Holds no state; threads may share it.

    Args:
        manifest: the model's manifest.
        threshold: score from which an instance counts; the manifest's unless given.

    Raises:
        UsageError: a threshold outside 0 to 1.
        ModelError: the manifest names no boxes, scores, classes or masks.
    """

    two_class = False
    outputs = INSTANCE_OUTPUTS

    def __init__(self, manifest: Manifest, threshold: float | None = None) -> None:
        missing = [name for name in self.outputs if name not in manifest.outputs]
        if missing:
            raise ModelError("an instance model lacks an output", missing[0], "Export the model again")
        self.threshold = manifest.threshold if threshold is None else threshold
        if not 0.0 <= self.threshold <= 1.0:
            raise UsageError("the threshold is outside 0 to 1", self.threshold, "Give a score, 0.5 for example")

    def __call__(self, outputs: Mapping[str, npt.NDArray[Any]], geometry: Geometry | Tiling) -> Answer:
        """Bring one frame's instances into the frame.

        Args:
            outputs: boxes [1, K, 4] in pixels of the input, scores [1, K], classes [1, K], masks [1, K, h, w].
            geometry: from the preprocessor.

        Returns:
            label_map uint8 [H, W], where instances overlap the class of the one with the best score; no probability;
            the instances whose score reaches the threshold, best first.
        """
        if not isinstance(geometry, Geometry):
            raise ModelError("instance models do not run in tiles", "a tiled frame", "Export the model again")
        boxes, scores, classes, masks = (outputs[name][0] for name in self.outputs)
        # Rows that the model did not need have score 0, also where every score is wanted.
        sure = (scores >= self.threshold) & (scores > 0)
        scale = np.array(
            [geometry.frame_width / geometry.width, geometry.frame_height / geometry.height] * 2, np.float32
        )
        shift = np.array([geometry.left, geometry.top] * 2, np.float32)
        size = (geometry.frame_height, geometry.frame_width)
        placed = ((boxes[sure] - shift) * scale).astype(np.float32)
        found = Instances(placed, scores[sure], classes[sure].astype(np.int32), masks[sure], size)
        return Answer(paint(found), None, found)
