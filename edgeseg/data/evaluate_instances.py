"""`edgeseg eval` for instance models: average precision on labelled instances, each picture at its own size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.average_precision import Detections, Precision
from edgeseg.data.evaluate import Model, spread
from edgeseg.data.found import SAME_FROM, Found, compare
from edgeseg.data.instance_pool import class_table
from edgeseg.data.instances import Instances, InstanceSample, list_instances
from edgeseg.data.page import Shown, instance_page
from edgeseg.data.report_folder import WORST, write_report
from edgeseg.drawing import draw_instances, draw_masks
from edgeseg.types import Image, Result


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """Scores of one instance model on one split.

    Attributes:
        data, split: what was scored.
        images, instances: how many there are; crowds are not counted.
        mask, box: AP and AR as COCO defines them, 0 to 1, of masks, and of the boxes that the model gives.
        threshold: score from which an answer is counted in `each`.
        each: name of each picture and what became of its instances, in the set's order.
    """

    data: str
    split: str
    images: int
    instances: int
    mask: dict[str, float]
    box: dict[str, float]
    threshold: float
    each: tuple[tuple[str, Found], ...]

    @property
    def found(self) -> Found:
        """What became of the instances of all pictures."""
        first, *others = (one for _, one in self.each)
        return sum(others, first)

    def worst(self, count: int) -> list[int]:
        """Places in `each` of the pictures of least quality, worst first."""
        known = [place for place, (_, one) in enumerate(self.each) if not np.isnan(one.quality)]
        return sorted(known, key=lambda place: self.each[place][1].quality)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Figures as JSON numbers, None for sizes of which there is no instance."""
        body: dict[str, Any] = {key: getattr(self, key) for key in ("data", "split", "images", "instances")}
        for kind in ("mask", "box"):
            found = getattr(self, kind)
            body |= {f"{kind}_{name}": None if np.isnan(v) else round(v, 6) for name, v in found.items()}
        body["counts"] = {"score": self.threshold, "iou": SAME_FROM, **_counts(self.found)}
        body["worst_images"] = {self.each[k][0]: round(self.each[k][1].quality, 6) for k in self.worst(WORST)}
        return body

    def table(self) -> str:
        """The same figures for a person to read."""
        lines = [f"{self.data}, split {self.split}: {self.images} images, {self.instances} instances"]
        for name in self.mask:
            mask, box = (f"{value:.4f}" if value == value else "-" for value in (self.mask[name], self.box[name]))
            lines.append(f"  {name:12s} mask {mask:>7s}   box {box:>7s}")
        lines.append(f"  from score {self.threshold:g} and IoU {SAME_FROM:g} on: {_told(self.found)}")
        return "\n".join(lines)


def evaluate_instances(
    segmenter: Model,
    data: Path,
    split: str,
    progress: Callable[[int, int], None] | None = None,
    count: int | None = None,
    threshold: float = 0.5,
    report_dir: Path | None = None,
) -> InstanceReport:
    """Find the instances of every picture of a split and compare them with its labels.

    Args:
        segmenter: a loaded instance model with threshold 0: average precision looks at every score.
        data: folder of the set; COCO's layout, or masks that number the instances of one class.
        split: name of the split.
        progress: called with (done, total) after each picture.
        count: at most so many pictures, spread over the split; all of them when None.
        threshold: score from which an answer is counted as found or false, and drawn.
        report_dir: folder for index.html and the ten worst pictures, each beside result and truth; made if missing.

    Raises:
        InputError: an unreadable set.
        UsageError: none of the set's classes is the model's, or no instance in any picture.
        OutputError: the report cannot be written.
    """
    listed, own = list_instances(data, split)
    samples = spread(listed, count)
    names = [info.name for info in segmenter.classes]
    table = class_table(own, names, str(data))
    collected, each = Precision(), []
    for done, sample in enumerate(samples, 1):
        image, labelled = sample.read()
        truth, given = labelled.relabelled(table), detections_of(segmenter(image))
        collected.add(truth, given)
        each.append((sample.name, compare(truth, given, len(names), threshold)))
        if progress:
            progress(done, len(samples))
    mask, box = collected.figures("segm"), collected.figures("bbox")
    report = InstanceReport(
        data.name or str(data), split, len(samples), collected.instances, mask, box, threshold, tuple(each)
    )
    if report_dir is not None:
        _write_report(segmenter, samples, report, report_dir, lambda truth: truth.relabelled(table))
    return report


def _write_report(
    segmenter: Model,
    samples: Sequence[InstanceSample],
    report: InstanceReport,
    folder: Path,
    as_model: Callable[[Instances], Instances],
) -> None:
    def strips() -> Iterator[tuple[Shown, list[Image]]]:
        for number, place in enumerate(report.worst(WORST)):
            name, found = report.each[place]
            image, labelled = samples[place].read()
            truth, result = as_model(labelled), segmenter(image)
            assert result.instances is not None
            sure = result.instances.from_score(report.threshold)
            parts = [
                image,
                draw_instances(image, sure, segmenter.classes),
                draw_masks(image, truth.masks, truth.labels, segmenter.classes),
            ]
            file = f"worst-{number}-{name}-pq{found.quality:.3f}.png"
            yield Shown(file, f"{name}: quality {found.quality:.3f}; {_told(found)}"), parts

    title, figures = f"{report.data}, {report.split}", report.to_dict()
    matrix = report.found.matrix
    write_report(folder, strips(), lambda shown: instance_page(title, figures, segmenter.classes, matrix, shown))


def _counts(found: Found) -> dict[str, int]:
    return {"found": found.right, "wrong_class": found.wrong_class, "missed": found.missed, "false": found.false}


def _told(found: Found) -> str:
    return ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in _counts(found).items())


def detections_of(result: Result) -> Detections:
    """What a model found in a frame, in the form that `average_precision` takes."""
    found = result.instances
    assert found is not None
    labels = found.classes.astype(np.int64)
    return Detections(Instances(found.masks, labels, np.zeros(len(found), bool)), found.scores, found.boxes)
