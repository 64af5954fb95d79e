"""What the pipeline's second thread does with a frame, and hands to the third."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.motion import Gray, gray_of
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.temporal import Memory, Smoother
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import Frame


@dataclass(frozen=True, slots=True)
class Inferred:
    """A frame and what the backend said of it.

    Attributes:
        frame: the frame.
        model: place of the segmenter in the row of them.
        level: how much work was done; see `Effort`.
        geometry: what undoes the resize.
        outputs: by name.
        preprocess_ms: milliseconds.
        inference_ms: milliseconds, waits for other streams included, not that for a frame before it.
        alone_ms: both without these waits.
        gray: luma of the model's input, for smoothing.
    """

    frame: Frame
    model: int
    level: int
    geometry: Geometry | Tiling
    outputs: dict[str, npt.NDArray[Any]]
    preprocess_ms: float
    inference_ms: float
    alone_ms: float
    gray: Gray | None

    def smoothed(self, smoother: Smoother | None) -> dict[str, npt.NDArray[Any]]:
        """The outputs, the probability smoothed over time where there is a smoother."""
        if smoother is None:
            return self.outputs
        # Another frame size moves everything in a letterboxed map; and who knows what happened while a source was away.
        stretch = (self.geometry, self.frame.session)
        return {"probability": smoother(self.outputs["probability"], self.gray, stretch)}


# Of a frame that the backend is still at: waits for its outputs.
Begun = Callable[[], Inferred]


def infer_frame(
    frame: Frame,
    segmenter: Segmenter,
    memory: Memory | None,
    smoothed: bool,
    ahead: bool = False,
    model: int = 0,
    level: int = 0,
) -> Inferred | Begun:
    """Preprocess and infer one frame.

    Args:
        frame: the frame.
        segmenter: what runs it.
        memory: the stream's, for a model that has one.
        smoothed: the luma is wanted.
        ahead: come back while the backend is at it, where it can do so.
        model: passed on.
        level: passed on.
    """
    started = time.perf_counter()
    image, geometry = segmenter.preprocess(frame.image)
    prepared = time.perf_counter()
    fetch = segmenter.begin(image) if ahead else None

    def done(outputs: dict[str, npt.NDArray[Any]], gray: Gray | None, ahead: bool = False) -> Inferred:
        # Of a frame that was begun, its wait behind the one before is nobody's inference.
        busy_ms, preprocess_ms = segmenter.busy_ms, (prepared - started) * 1e3
        inference_ms = busy_ms if ahead else (time.perf_counter() - prepared) * 1e3
        alone_ms = preprocess_ms + min(busy_ms, inference_ms)
        return Inferred(frame, model, level, geometry, outputs, preprocess_ms, inference_ms, alone_ms, gray)

    # Here and not where it is needed: the input's memory is the backend's, which the next frame is written into.
    if fetch is not None:
        gray = gray_of(image) if smoothed else None
        return lambda: done(fetch(), gray, ahead=True)
    if memory is None:
        outputs = segmenter.infer(image)
    elif not segmenter.manifest.memory:
        memory.forget()
        outputs = segmenter.infer(image)
    else:
        outputs = segmenter.infer(image, memory.recall(geometry, frame.session))
        memory.keep(outputs["probability"], geometry, frame.session)
    inferred = done(outputs, None)
    return dataclasses.replace(inferred, gray=gray_of(image)) if smoothed else inferred
