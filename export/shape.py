"""Which shapes of the picture a file takes: one batch or any, its manifest's size alone or any multiple of a step.

The sizes that are left open are named in the graph: N, H and W of `image`. A runtime that wants them fixed gives these
names a value; edgeseg's backends fix H and W at the manifest's size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ModelError, UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime.backends.base import BATCH, HEIGHT, WIDTH

if TYPE_CHECKING:
    import onnx

# In the manifest's `origin`: what height and width of a file with an open size must be multiples of, pixels.
STEP_KEY = "size_step"


@dataclass(frozen=True, slots=True)
class Shape:
    """What `image` may be.

    Attributes:
        batch: pictures in each call; None for any number.
        free_size: height and width may be any multiples of the network's stride.
    """

    batch: int | None = None
    free_size: bool = False


ANY_BATCH = Shape()


def shape_of(model: onnx.ModelProto) -> Shape:
    """The shape that a file with the camera contract takes."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return Shape(dims[0].dim_value or None, not (dims[1].dim_value and dims[2].dim_value))


def open_dims(height: int, width: int, free_size: bool) -> list[int | str | None]:
    """[N, H, W] as the graph's inputs and outputs state them: any batch, and the size where it is not left open."""
    return [BATCH, HEIGHT, WIDTH] if free_size else [BATCH, height, width]


def fix_batch(model: onnx.ModelProto, batch: int | None) -> None:
    """Let inputs and outputs be of `batch` pictures, in place; of any number where it is None."""
    if batch is None:
        return
    for value in (*model.graph.input, *model.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        if dim.dim_param == BATCH:
            dim.dim_value = batch


def with_step(model: Any, manifest: Manifest, free_size: bool) -> Manifest:
    """The manifest with what an open size must be a multiple of, or without; errors as `check_free_size`."""
    origin = {key: value for key, value in manifest.origin.items() if key != STEP_KEY}
    if free_size:
        check_free_size(model, manifest)
        origin[STEP_KEY] = step_of(model, manifest)
    return dataclasses.replace(manifest, origin=origin)


def step_of(model: Any, manifest: Manifest) -> int:
    """What an open size must be a multiple of, pixels: the network's stride, or that of its last map.

    Where a map of odd size is rounded up, the stride is half of the last map's. The graph then computes with
    remainders of sizes, for which TensorRT-RTX builds no range. Multiples of the last map's stride need none: they
    are taken where the usual size is one.
    """
    encoder: Any = getattr(model, "encoder", None)
    whole = int(encoder.strides[-1]) if getattr(encoder, "even", None) is not None else int(model.stride)
    return int(model.stride) if manifest.height % whole or manifest.width % whole else whole


def computes_remainders(model: onnx.ModelProto) -> bool:
    """Whether a file of an open size rounds maps of odd size up; see `step_of`."""
    return any(node.op_type == "Mod" for node in model.graph.node)


def check_free_size(model: Any, manifest: Manifest) -> None:
    """Raise UsageError where a network's file cannot leave its size open.

    Args:
        model: with `stride`, and `output_size` where it answers for less than its input.
        manifest: of the file to be.
    """
    todo = "Leave --dynamic-size out, and give the size with --size"
    if manifest.task == "instance":
        cause = "an instance model's size is fixed: its anchors and its numbers of proposals are counted at export"
        raise UsageError(cause, manifest.name, todo)
    if manifest.tiled:
        seen = (
            f"{manifest.name}, {manifest.height}x{manifest.width} to {manifest.output_height}x{manifest.output_width}"
        )
        raise UsageError("a tiled model's size is fixed: frames of any size are cut into its tiles", seen, todo)
    step = int(model.stride)
    if manifest.height % step or manifest.width % step:
        near = "x".join(str(-(-length // step) * step) for length in (manifest.height, manifest.width))
        seen = f"{manifest.height}x{manifest.width}"
        raise UsageError(f"an open size must be a multiple of {step}, also the usual one", seen, f"Give --size {near}")


def check_traced(model: onnx.ModelProto) -> None:
    """Raise ModelError where the exporter fixed a size that was to stay open; whether it is right shows in a run."""
    fixed = [
        dim.dim_value
        for value in (*model.graph.input, *model.graph.output)
        for dim in value.type.tensor_type.shape.dim[2:]
    ]
    if any(fixed):
        raise holds_sizes(f"{max(fixed)} rows or columns")


def holds_sizes(seen: object) -> ModelError:
    """The error for a network whose graph cannot be written without numbers of pixels in it."""
    todo = "Leave --dynamic-size out, and give the size with --size"
    return ModelError("the network's graph is true for one size only", seen, todo)
