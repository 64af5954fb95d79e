"""Calibration: run the float model on real frames and note the range of every tensor that int8 will need."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.calib.frames import Frames, FrameSet
from edgeseg.calib.model_file import read_float_model
from edgeseg.calib.observers import METHODS, MinMax
from edgeseg.calib.ranges import Ranges, file_sha256
from edgeseg.calib.tap import tap
from edgeseg.errors import ModelError, UsageError, nearest

if TYPE_CHECKING:
    import onnx

DEFAULT_METHOD = "mse"
LAYERS = ("Conv", "Gemm")
STEP_OP = ("edgeseg", "UpsampleCropConcat")


def calibrate(
    model_path: Path | str,
    frames: Frames | Path | str,
    method: str = DEFAULT_METHOD,
    out: Path | str | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Ranges:
    """Observe an fp32 model file on `frames`.

    Args:
        model_path: a file by `edgeseg export`, fp32.
        frames: folder or clip; a `FrameSet` that says more, or `LiveFrames` of an open source.
        method: "minmax", "moving-average", "percentile", "entropy" or "mse".
        out: JSON file for the table; not written when None.
        on_frame: called after each frame with the number of frames so far.

    Raises:
        UsageError: an unknown method.
        InputError: model or frames are missing, empty or unreadable.
        ModelError: the file is no fp32 edgeseg model, or a tensor is not finite.
    """
    if method not in METHODS:
        raise UsageError("unknown calibration method", method, nearest(method, METHODS))
    frames = FrameSet(Path(frames)) if isinstance(frames, (str, Path)) else frames
    model, manifest = read_float_model(model_path)
    observers: dict[str, MinMax] = {name: METHODS[method]() for name in wanted_tensors(model)}
    if not observers:
        raise ModelError("the file has no convolutions to calibrate", model_path, "Give a model by edgeseg export")
    hashes: list[str] = []
    largest: dict[str, npt.NDArray[np.float32]] = {}
    run = tap(model, list(observers))
    for image, digest in frames.inputs(manifest):
        # Of a frame in tiles one at a time, as when the model runs: the tensors of all may not fit into memory.
        for place in range(len(image)):
            for (name, observer), values in zip(observers.items(), run(image[place : place + 1]), strict=True):
                observer.observe(values, more=place > 0)
                if values.ndim == 4:
                    seen = np.maximum(values.max(axis=(0, 2, 3)), -values.min(axis=(0, 2, 3)))
                    largest[name] = np.maximum(largest.get(name, seen), seen)
        hashes.append(digest)
        if on_frame is not None:
            on_frame(len(hashes))
    tensors = {name: observer.range() for name, observer in observers.items()}
    for name, (low, high) in tensors.items():
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ModelError("a tensor is not finite", f"{name} of {model_path}", "Check the training run's weights")
    about = frames.describe() | {"count": len(hashes), "sha256": hashes}
    # Five digits are more than a quarter of an octave needs.
    channels = {name: tuple(float(f"{value:.5g}") for value in seen) for name, seen in largest.items()}
    ranges = Ranges(tensors, method, file_sha256(model_path), manifest.name, about, _version(), channels)
    if out is not None:
        ranges.save(out)
    return ranges


def wanted_tensors(model: onnx.ModelProto) -> list[str]:
    """Tensors that carry int8 later: what convolutions and linear layers read, and both sides of fused steps."""
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type in LAYERS:
            names.append(node.input[0])
        elif (node.domain, node.op_type) == STEP_OP:
            names += [*node.input, *node.output]
    return list(dict.fromkeys(names))


def _version() -> str:
    import edgeseg

    return str(getattr(edgeseg, "__version__", "unknown"))
