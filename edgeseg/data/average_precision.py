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
    """

    instances: Instances
    scores: npt.NDArray[np.float32]


def average_precision(
    truth: Sequence[Instances], given: Sequence[Detections], kind: Literal["segm", "bbox"] = "segm"
) -> dict[str, float]:
    """AP and AR over a set of pictures, 0 to 1; nan where there is no instance of that size.

    Args:
        truth: the instances of each picture.
        given: what was found in each, in the same order.
        kind: "segm" compares masks, "bbox" their tight boxes.

    Raises:
        UsageError: lists of different lengths, or no instance in any picture.
    """
    if len(truth) != len(given):
        raise UsageError("truth and answers differ in number", f"{len(truth)} and {len(given)}", "Give one a picture")
    if not any(len(item) for item in truth):
        raise UsageError("nothing to measure", f"no instance in {len(truth)} pictures", "Give pictures with instances")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # pycocotools prints its progress, and has NumPy 1's signature of __array__.
        warnings.simplefilter("ignore", DeprecationWarning)
        stats = _evaluate(truth, given, kind)
    return {name: float("nan") if stats[place] < 0 else float(stats[place]) for name, place in FIGURES.items()}


def _evaluate(truth: Sequence[Instances], given: Sequence[Detections], kind: str) -> npt.NDArray[np.float64]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        row | {"id": number, "iscrowd": int(crowd)}
        for number, (row, crowd) in enumerate(
            (pair for image, item in enumerate(truth) for pair in zip(_rows(item, image), item.crowd, strict=True)),
            start=1,
        )
    ]
    labels = {int(label) for item in (*truth, *(found.instances for found in given)) for label in item.labels}
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [
            {"id": image, "height": item.masks.shape[1], "width": item.masks.shape[2]}
            for image, item in enumerate(truth)
        ],
        "categories": [{"id": label} for label in sorted(labels)],
        "annotations": annotations,
    }
    coco.createIndex()
    answers = [
        # With a box, pycocotools would take the box' area for that of the mask.
        {key: value for key, value in row.items() if kind == "bbox" or key != "bbox"} | {"score": float(score)}
        for image, found in enumerate(given)
        for row, score in zip(_rows(found.instances, image), found.scores, strict=True)
    ]
    evaluation = COCOeval(coco, coco.loadRes(answers) if answers else _nothing(coco), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats: npt.NDArray[np.float64] = evaluation.stats
    return stats


def _nothing(coco: Any) -> Any:
    """An empty answer, which `loadRes` does not take."""
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = coco.dataset | {"annotations": []}
    empty.createIndex()
    return empty


def _rows(instances: Instances, image: int) -> list[dict[str, Any]]:
    from pycocotools import mask as runs

    rows = []
    for mask, label, box in zip(instances.masks, instances.labels, instances.boxes(), strict=True):
        left, top, right, bottom = (float(value) for value in box)
        rows.append(
            {
                "image_id": image,
                "category_id": int(label),
                "segmentation": runs.encode(np.asfortranarray(mask, dtype=np.uint8)),
                "bbox": [left, top, right - left, bottom - top],
                "area": float(mask.sum()),
            }
        )
    return rows
