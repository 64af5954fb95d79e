"""Real-time video segmentation for edge devices.

    import edgeseg

    segmenter = edgeseg.load("person")
    result = segmenter(frame)                      # uint8 [H, W, 3] BGR
    result.label_map                               # uint8 [H, W]

    for result in edgeseg.stream("0", model="person"):
        picture = result.overlay()

Importing this loads numpy and nothing heavier: OpenCV and the backends come with the first model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeseg.errors import (
    BackendError,
    EdgeSegError,
    InputError,
    LimitError,
    ModelError,
    OutputError,
    UsageError,
)
from edgeseg.types import IGNORE_INDEX, ClassInfo, Frame, Instances, Result

if TYPE_CHECKING:
    import os

    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sources.base import Source

__version__ = "0.1.0"

__all__ = [
    "IGNORE_INDEX",
    "BackendError",
    "ClassInfo",
    "EdgeSegError",
    "Frame",
    "InputError",
    "Instances",
    "LimitError",
    "ModelError",
    "OutputError",
    "Result",
    "UsageError",
    "__version__",
    "load",
    "stream",
]


def load(
    model: str | os.PathLike[str] = "person",
    *,
    backend: str = "auto",
    precision: str = "auto",
    threshold: float | None = None,
    device: str | None = None,
    rebuild: bool = False,
) -> Segmenter:
    """Load a model.

    Args:
        model: the name of a model that ships ("person"), or the path to an .onnx or .engine file.
        backend: "onnxruntime", "openvino" and so on; "auto" takes the fastest that is installed, measured once on this
            machine and remembered. "tensorrt" and "tensorrt-rtx" run on a GPU, and build an engine once.
        precision: "fp32" or "int8", for engines also "fp16"; "auto" takes the fastest, measured with the backends.
        threshold: foreground probability, 0 to 1, from which a label of a two-class model is 1; the model's own unless
            given.
        device: the backend's name for a device; its default unless given.
        rebuild: an engine file that does not fit this machine is built again, from the ONNX file in its manifest.

    Returns:
        A segmenter: call it with a frame, uint8 [H, W, 3] BGR, for a `Result`. A context manager; `close()` frees it.

    Raises:
        UsageError: an unknown model, backend or precision, or a threshold outside 0 to 1.
        InputError: the file does not exist or cannot be read.
        ModelError: the file is corrupt or has no manifest.
        BackendError: the backend is not installed or finds no device.
    """
    from edgeseg.runtime.segmenter import open_segmenter

    return open_segmenter(model, backend, precision, device, threshold, rebuild)


def stream(
    source: str | Source,
    model: str | os.PathLike[str] | Segmenter = "person",
    *,
    backend: str = "auto",
    precision: str = "auto",
    threshold: float | None = None,
    device: str | None = None,
    policy: str | None = None,
    smooth: str | None = None,
    max_frames: int | None = None,
    max_age_ms: float | None = None,
) -> Iterator[Result]:
    """Segment a stream: yields a `Result` a frame, and closes what it opened when the iterator is closed or used up.

    Args:
        source: "0" or "/dev/video0" (a camera), a video file, a folder, a pattern, "demo", "synthetic:1280x720@30"; or
            a source of your own, which is closed too.
        model: as for `load`; or a loaded segmenter, which stays open.
        backend: as for `load`.
        precision: as for `load`.
        threshold: as for `load`.
        device: as for `load`.
        policy: "newest" drops frames that come too fast, "all" makes the source wait; unless given, cameras drop and
            files wait.
        smooth: temporal smoothing: "steady", or METHOD[:STRENGTH][+flow][+hold] as in "uncertainty" and
            "exponential:0.5+flow"; none unless given.
        max_frames: the source stops after so many frames.
        max_age_ms: of cameras, a budget for the age of results: where they get older, frames are skipped, until there
            is room again; none unless given.

    Raises:
        EdgeSegError: as `load` does, or when the source cannot be opened or fails; all on the first step of the loop or
            later.
    """
    from contextlib import ExitStack

    from edgeseg.runtime.effort import Effort
    from edgeseg.runtime.pipeline import Pipeline
    from edgeseg.runtime.segmenter import Segmenter, open_segmenter
    from edgeseg.runtime.sources import open_source
    from edgeseg.runtime.temporal import Smoother

    with ExitStack() as stack:
        if smooth:
            Smoother.parse(smooth)  # a misspelt one is said before a camera is opened
        opened = stack.enter_context(open_source(source, max_frames) if isinstance(source, str) else source)
        if isinstance(model, Segmenter):
            segmenter = model
        else:
            segmenter = stack.enter_context(open_segmenter(model, backend, precision, device, threshold))
        smoother = Smoother.parse(smooth, segmenter.threshold) if smooth else None
        effort = Effort([segmenter], opened, max_age_ms)
        yield from Pipeline(opened, segmenter, policy=policy, smoother=smoother, effort=effort).results()
