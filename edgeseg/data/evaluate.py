"""`edgeseg eval`: score a model on labelled pictures, each at its own size, with whatever backend runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseg import metrics
from edgeseg.data.classes import label_table, read_classes
from edgeseg.data.folder import Sample, list_samples, read_pair
from edgeseg.data.page import Shown, page
from edgeseg.data.report_folder import WORST, write_report
from edgeseg.drawing import draw_labels
from edgeseg.errors import InputError, UsageError, nearest
from edgeseg.types import IGNORE_INDEX, ClassInfo, Image, LabelMap, Result

Item = TypeVar("Item")
FORMATS = ("labels", "instances")
FOREGROUND = 1


@dataclass(frozen=True, slots=True)
class EvalReport:
    """Scores of one model on one split.

    Attributes:
        data, split, format: what was scored, and how its masks were read.
        class_names: names by id.
        matrix: int64 [classes, classes], pixels of all pictures by true and given class.
        per_image_iou: of each picture, by file stem: the foreground's IoU, or of more than two classes the mean IoU.
        images: number of pictures.
        boundary_f: float64 [classes], F-measure of each class' outline, mean over pictures; None where not asked for.
    """

    data: str
    split: str
    format: str
    class_names: tuple[str, ...]
    matrix: metrics.Matrix
    per_image_iou: dict[str, float]
    images: int
    boundary_f: npt.NDArray[np.float64] | None = None

    def worst(self, count: int) -> list[tuple[str, float]]:
        """File stem and IoU of the worst pictures, worst first."""
        return sorted(self.per_image_iou.items(), key=lambda item: item[1])[:count]

    def to_dict(self) -> dict[str, Any]:
        """Figures as JSON numbers, shares from 0 to 1."""

        def named(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
            return {name: _rounded(value) for name, value in zip(self.class_names, values, strict=True)}

        body: dict[str, Any] = {
            "data": self.data,
            "split": self.split,
            "format": self.format,
            "images": self.images,
            "pixel_accuracy": _rounded(metrics.pixel_accuracy(self.matrix)),
            "mean_pixel_accuracy": _rounded(metrics.mean_pixel_accuracy(self.matrix)),
            "miou": _rounded(metrics.mean_iou(self.matrix)),
            "frequency_weighted_iou": _rounded(metrics.frequency_weighted_iou(self.matrix)),
            "iou": named(metrics.iou_per_class(self.matrix)),
            "dice": named(metrics.dice_per_class(self.matrix)),
            "precision_per_class": named(metrics.precision_per_class(self.matrix)),
            "recall_per_class": named(metrics.accuracy_per_class(self.matrix)),
        }
        if self.boundary_f is not None:
            body["boundary_f"] = named(self.boundary_f)
        if len(self.class_names) == 2:
            values = np.array(list(self.per_image_iou.values()))
            body[f"{self.class_names[FOREGROUND]}_iou_mean_over_images"] = _rounded(float(values.mean()))
            body[f"{self.class_names[FOREGROUND]}_iou_p5"] = _rounded(float(np.percentile(values, 5)))
        if self.per_image_iou:
            body["worst_images"] = {stem: _rounded(value) for stem, value in self.worst(WORST)}
        return body

    def table(self) -> str:
        """The same figures for a person to read."""
        body = self.to_dict()
        lines = [f"{self.data}, split {self.split}: {self.images} images"]
        lines += [f"  {key:32s} {body[key]:.4f}" for key in body if isinstance(body[key], float)]
        lines += [
            f"  IoU {name:28s} {value if value is None else format(value, '.4f')}"
            for name, value in body["iou"].items()
        ]
        return "\n".join(lines)


class Model(Protocol):
    """What evaluation needs of a segmenter."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The class map."""

    def __call__(self, frame: Any) -> Result:
        """Segment uint8 [H, W, 3] BGR."""


def evaluate(
    segmenter: Model,
    data: Path,
    split: str,
    format: str | None = None,
    report_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    boundary_px: int | None = None,
    count: int | None = None,
) -> EvalReport:
    """Segment every picture of a split and compare it with its label map at the picture's own size.

    Args:
        segmenter: a loaded model.
        data: folder of the set.
        split: name of the split.
        format: "labels" (values are class ids, or what the set's classes.txt says) or "instances" (values number the
            objects; for two classes); recognised from the files when None.
        report_dir: folder for index.html and the ten worst pictures, each beside result and truth; made if missing.
        progress: called with (done, total) after each picture.
        boundary_px: outlines within so many pixels count as found, for `boundary_f`; None leaves it out.
        count: at most so many pictures, spread over the split; all of them when None.

    Raises:
        UsageError: an unknown format.
        InputError: an unreadable set, or labels that the model's classes do not cover.
        OutputError: the report cannot be written.
    """
    names = tuple(info.name for info in segmenter.classes)
    samples = spread(list_samples(data, split), count)
    chosen, truth_of = truth_reader(data, samples, names, format)
    matrix = np.zeros((len(names), len(names)), np.int64)
    each: dict[str, float] = {}
    outlines = []
    for done, sample in enumerate(samples, 1):
        image, mask = read_pair(sample)
        truth, guess = truth_of(mask), segmenter(image).label_map
        try:
            one = metrics.confusion_matrix(truth, guess, len(names))
        except UsageError as error:
            raise InputError(error.cause, f"{error.seen} in {sample.mask}", error.todo) from None
        matrix += one
        value = metrics.foreground_iou(one) if len(names) == 2 else metrics.mean_iou(one)
        if not np.isnan(value):
            each[sample.stem] = value
        if boundary_px is not None:
            outlines.append(metrics.boundary_f(truth, guess, len(names), boundary_px))
        if progress:
            progress(done, len(samples))
    means = np.array([metrics.mean_of_known(shares) for shares in np.stack(outlines, 1)]) if outlines else None
    report = EvalReport(data.name or str(data), split, chosen, names, matrix, each, len(samples), means)
    if report_dir is not None:
        _write_report(segmenter, samples, report, report_dir, truth_of)
    return report


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """At most `count` of `items`, evenly spread, in their order; all of them when None."""
    chosen = len(items) if count is None else min(count, len(items))
    return [items[place * len(items) // chosen] for place in range(chosen)]


def truth_reader(
    data: Path, samples: list[Sample], names: Sequence[str], format: str | None = None
) -> tuple[str, Callable[[LabelMap], LabelMap]]:
    """How a set's masks are meant, and a function from a mask to class ids of `names`.

    Args:
        data: folder of the set.
        samples: of one of its splits.
        names: the model's class names by id.
        format: see `evaluate`.

    Raises:
        UsageError: an unknown format.
        InputError: the set's own list of classes cannot be read, or has none of the model's.
    """
    if format is not None and format not in FORMATS:
        raise UsageError("unknown format", format, nearest(format, FORMATS))
    listed = read_classes(data)
    chosen = format or ("labels" if listed else _recognize(samples, len(names)))
    table = label_table(listed, names, data) if listed and chosen == "labels" else None

    def truth_of(mask: LabelMap) -> LabelMap:
        if table is not None:
            return table[mask]
        return (mask > 0).astype(np.uint8) if chosen == "instances" else mask

    return chosen, truth_of


def _write_report(
    segmenter: Model, samples: list[Sample], report: EvalReport, folder: Path, truth_of: Callable[[LabelMap], LabelMap]
) -> None:
    by_stem = {sample.stem: sample for sample in samples}

    def strips() -> Iterator[tuple[Shown, list[Image]]]:
        for place, (stem, value) in enumerate(report.worst(WORST)):
            image, mask = read_pair(by_stem[stem])
            truth = draw_labels(image, truth_of(mask), segmenter.classes)
            shown = Shown(f"worst-{place}-{stem}-iou{value:.3f}.png", f"{stem}: IoU {value:.3f}")
            yield shown, [image, segmenter(image).overlay(), truth]

    title = f"{report.data}, {report.split}"
    figures = report.to_dict()
    write_report(folder, strips(), lambda shown: page(title, figures, segmenter.classes, report.matrix, shown))


def _recognize(samples: list[Sample], classes: int) -> str:
    """Instance numbers, if a two-class model meets more than two values that count 1, 2, 3 … in each file."""
    if classes != 2:
        return "labels"
    seen = [np.unique(sample.read_mask()) for sample in samples]
    if max(int(ids[ids != IGNORE_INDEX].max(initial=0)) for ids in seen) < classes:
        return "labels"
    counted = all(np.array_equal(ids[ids > 0], np.arange(1, np.count_nonzero(ids) + 1)) for ids in seen)
    return "instances" if counted else "labels"


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
