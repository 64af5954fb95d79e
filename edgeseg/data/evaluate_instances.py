"""`edgeseg eval` for instance models: average precision on labelled instances, each picture at its own size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.average_precision import Detections, Precision
from edgeseg.data.evaluate import Model, spread
from edgeseg.data.instance_pool import class_table
from edgeseg.data.instances import Instances, list_instances
from edgeseg.types import Result


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """Scores of one instance model on one split.

    Attributes:
        data, split: what was scored.
        images, instances: how many there are; crowds are not counted.
        mask, mask_box: AP and AR as COCO defines them, 0 to 1, of masks and of the masks' tight boxes.
    """

    data: str
    split: str
    images: int
    instances: int
    mask: dict[str, float]
    mask_box: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Figures as JSON numbers, None for sizes of which there is no instance."""
        body: dict[str, Any] = {key: getattr(self, key) for key in ("data", "split", "images", "instances")}
        for kind in ("mask", "mask_box"):
            found = getattr(self, kind)
            body |= {f"{kind}_{name}": None if np.isnan(v) else round(v, 6) for name, v in found.items()}
        return body

    def table(self) -> str:
        """The same figures for a person to read."""
        lines = [f"{self.data}, split {self.split}: {self.images} images, {self.instances} instances"]
        for name in self.mask:
            mask, box = (f"{value:.4f}" if value == value else "-" for value in (self.mask[name], self.mask_box[name]))
            lines.append(f"  {name:12s} mask {mask:>7s}   box of mask {box:>7s}")
        return "\n".join(lines)


def evaluate_instances(
    segmenter: Model,
    data: Path,
    split: str,
    progress: Callable[[int, int], None] | None = None,
    count: int | None = None,
) -> InstanceReport:
    """Find the instances of every picture of a split and compare them with its labels.

    Args:
        segmenter: a loaded instance model with threshold 0: average precision looks at every score.
        data: folder of the set; COCO's layout, or masks that number the instances of one class.
        split: name of the split.
        progress: called with (done, total) after each picture.
        count: at most so many pictures, spread over the split; all of them when None.

    Raises:
        InputError: an unreadable set.
        UsageError: none of the set's classes is the model's, or no instance in any picture.
    """
    listed, own = list_instances(data, split)
    samples = spread(listed, count)
    table = class_table(own, [info.name for info in segmenter.classes], str(data))
    collected = Precision()
    for done, sample in enumerate(samples, 1):
        image, truth = sample.read()
        collected.add(truth.relabelled(table), detections_of(segmenter(image)))
        if progress:
            progress(done, len(samples))
    mask, box = collected.figures("segm"), collected.figures("bbox")
    return InstanceReport(data.name or str(data), split, len(samples), collected.instances, mask, box)


def detections_of(result: Result) -> Detections:
    """What a model found in a frame, in the form that `average_precision` takes."""
    found = result.instances
    assert found is not None
    labels = found.classes.astype(np.int64)
    return Detections(Instances(found.masks, labels, np.zeros(len(found), bool)), found.scores)
