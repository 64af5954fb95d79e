"""Average precision and recall of instances as COCO defines them, computed by pycocotools.

https://cocodataset.org/#detection-eval: the mean over IoU thresholds .50 to .95 and over classes, precision read at 101
recalls; a crowd is neither found nor missed.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.data.instances import Instances
from edgeseg.errors import UsageError

# Name -> its place in COCOeval.stats. Sizes are areas in pixels: below 32 x 32, below 96 x 96, above.
FIGURES = {
    "ap": 0,
    "ap50": 1,
    "ap75": 2,
    "ap_small": 3,
    "ap_medium": 4,
    "ap_large": 5,
    "ar1": 6,
    "ar10": 7,
    "ar100": 8,
}


@dataclass(frozen=True, slots=True)
class Detections:
    """What a model found in one picture.

    Attributes:
        instances: masks and labels; `crowd` says nothing here.
        scores: float [K], 0 to 1.
        boxes: float32 [K, 4], left, top, right, bottom in pixels, as the model gave them; what reaches out of the
            picture does not count. The masks' tight ones when None.
    """

    instances: Instances
    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32] | None = None


class Precision:
    """Collects answers picture by picture, as run lengths, so that a large set needs little memory."""

    def __init__(self) -> None:
        self._images: list[dict[str, int]] = []
        self._truth: list[dict[str, Any]] = []
        self._given: list[dict[str, Any]] = []

    def add(self, truth: Instances, given: Detections) -> None:
        """The instances of one picture and what was found in it."""
        image = len(self._images)
        self._images.append({"id": image, "height": truth.masks.shape[1], "width": truth.masks.shape[2]})
        for row, crowd in zip(_rows(truth, truth.boxes(), image), truth.crowd, strict=True):
            self._truth.append(row | {"id": len(self._truth) + 1, "iscrowd": int(crowd)})
        boxes = given.instances.boxes() if given.boxes is None else _inside(given.boxes, *truth.masks.shape[1:])
        for row, score in zip(_rows(given.instances, boxes, image), given.scores, strict=True):
            self._given.append(row | {"score": float(score)})

    @property
    def instances(self) -> int:
        """How many labelled instances there are, crowds left out."""
        return sum(not row["iscrowd"] for row in self._truth)

    def figures(self, kind: Literal["segm", "bbox"] = "segm") -> dict[str, float]:
        """AP and AR over the pictures so far, 0 to 1; nan where there is no instance of that size.

        Args:
            kind: "segm" compares masks, "bbox" the boxes given with the tight ones of the true masks.

        Raises:
            UsageError: no instance in any picture.
        """
        if not self.instances:
            seen = f"no instance in {len(self._images)} pictures"
            raise UsageError("nothing to measure", seen, "Give pictures with instances")
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            # pycocotools prints its progress, and has NumPy 1's signature of __array__.
            warnings.simplefilter("ignore", DeprecationWarning)
            stats = self._evaluate(kind)
        return {name: float("nan") if stats[place] < 0 else float(stats[place]) for name, place in FIGURES.items()}

    def _evaluate(self, kind: str) -> npt.NDArray[np.float64]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        labels = {row["category_id"] for row in (*self._truth, *self._given)}
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": self._images,
            "categories": [{"id": label} for label in sorted(labels)],
            # Copies: pycocotools adds keys of its own.
            "annotations": [dict(row) for row in self._truth],
        }
        coco.createIndex()
        # With a box, pycocotools would take the box' area for that of the mask.
        dropped = "bbox" if kind == "segm" else ""
        answers = [{key: value for key, value in row.items() if key != dropped} for row in self._given]
        evaluation = COCOeval(coco, coco.loadRes(answers) if answers else _nothing(coco), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        stats: npt.NDArray[np.float64] = evaluation.stats
        return stats


def average_precision(
    truth: Sequence[Instances], given: Sequence[Detections], kind: Literal["segm", "bbox"] = "segm"
) -> dict[str, float]:
    """`Precision.figures` of lists: the instances of each picture, and what was found in each, in the same order.

    Raises:
        UsageError: lists of different lengths, or no instance in any picture.
    """
    if len(truth) != len(given):
        raise UsageError("truth and answers differ in number", f"{len(truth)} and {len(given)}", "Give one a picture")
    collected = Precision()
    for labelled, found in zip(truth, given, strict=True):
        collected.add(labelled, found)
    return collected.figures(kind)


def _nothing(coco: Any) -> Any:
    """An empty answer, which `loadRes` does not take."""
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = coco.dataset | {"annotations": []}
    empty.createIndex()
    return empty


def encoded(masks: npt.NDArray[np.bool_]) -> list[Any]:
    """Masks bool [K, H, W] as pycocotools' run lengths."""
    from pycocotools import mask as runs

    return [runs.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]


def _inside(boxes: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """The part of each box that lies in the picture."""
    return np.clip(boxes, 0, np.array([width, height] * 2, np.float32))


def _rows(instances: Instances, boxes: npt.NDArray[np.float32], image: int) -> list[dict[str, Any]]:
    rows = []
    parts = (instances.masks, encoded(instances.masks), instances.labels, boxes)
    for mask, code, label, box in zip(*parts, strict=True):
        left, top, right, bottom = (float(value) for value in box)
        rows.append(
            {
                "image_id": image,
                "category_id": int(label),
                "segmentation": code,
                "bbox": [left, top, right - left, bottom - top],
                "area": float(mask.sum()),
            }
        )
    return rows
