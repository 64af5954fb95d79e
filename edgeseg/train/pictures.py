"""What a run looks like: answers on validation pictures, and curves of loss and quality, redrawn at each validation."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.drawing import draw_labels
from edgeseg.export.to_onnx import written_aside
from edgeseg.types import ClassInfo, Image, LabelMap

# Pictures of each validation set that are shown, spread over the set.
SHOWN = 6
_SIDE = 192


def draw_samples(answers: Iterable[tuple[Image, LabelMap, LabelMap]], classes: Sequence[ClassInfo], path: Path) -> None:
    """Write a picture with a column a sample: picture, truth and answer from top to bottom.

    Args:
        answers: picture uint8 [H, W, 3] BGR, truth and answer uint8 [H, W].
        classes: the class map, for the colours.
        path: a .jpg file; replaced.
    """
    import cv2

    columns = []
    for picture, truth, given in answers:
        parts = [picture, *(draw_labels(picture, labels, classes) for labels in (truth, given))]
        columns.append(np.vstack([_fitted(part) for part in parts]))
    _, data = cv2.imencode(".jpg", np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 90])
    with written_aside(path) as part:
        part.write_bytes(data.tobytes())


def draw_curves(log: Path, path: Path) -> None:
    """Write the log's curves: loss and learning rate above, validation figures below, over the steps.

    Args:
        log: `log.jsonl` of a run.
        path: a .png file; replaced.
    """
    from matplotlib.figure import Figure

    lines = list(_readable(log.read_text(encoding="utf-8")))
    figure = Figure(figsize=(8, 7), layout="constrained")
    training, quality = figure.subplots(2, 1, sharex=True)
    training.plot(*_series(lines, "loss"), linewidth=0.8)
    training.set(ylabel="loss")
    rate = training.twinx()
    rate.plot(*_series(lines, "lr"), color="0.6", linewidth=0.8)
    rate.set(ylabel="learning rate")
    names = sorted({key for line in lines for key in line} - {"step", "loss", "lr", "images_per_s"})
    for name in names:
        quality.plot(*_series(lines, name), marker=".", label=name)
    quality.set(xlabel="step", ylabel="validation")
    quality.grid(alpha=0.3)
    if names:
        quality.legend()
    with written_aside(path) as part:
        figure.savefig(part, format="png", dpi=110)


def _readable(text: str) -> Iterator[dict[str, Any]]:
    """The lines of a log; a machine that went down may have left half of one."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _series(lines: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one key. After a stop without a checkpoint steps come twice: the later ones count."""
    found = {line["step"]: line[key] for line in lines if key in line}
    steps = sorted(found)
    return steps, [found[step] for step in steps]


def _fitted(picture: Image) -> Image:
    import cv2

    width = max(1, round(_SIDE * picture.shape[1] / picture.shape[0]))
    return cv2.resize(picture, (width, _SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
