"""A torch network becomes one ONNX file that takes camera bytes and gives label bytes.

    fold batch norms -> trace -> camera in front, labels behind -> function body of the fused steps (or `inline`)
    -> checker -> written aside -> compared with torch -> renamed into place

The model may want a size that is a multiple of its stride: the file pads its picture with the mean colour (which costs
nothing, the padding moves into the first convolution) and cuts the logits.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import ModelError, OutputError
from edgeseg.export.shape import ANY_BATCH, STEP_KEY, Shape, fix_batch, with_step
from edgeseg.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from edgeseg.export.check import Report


def export_onnx(
    model: nn.Module, manifest: Manifest, path: Path | str, inline: bool = False, shape: Shape = ANY_BATCH
) -> Report:
    """Write `model` to `path` with the camera contract, and compare the file with torch.

    Args:
        model: float32 [N, 3, H, W] normalized RGB (a fourth channel has the last probability, 0 to 1, where there is
            a memory) -> logits [N, C, h, w], C = 1 for two classes (the foreground's logit); with attributes `mean`,
            `std` (RGB, 0..255 scale) and `stride`. Or a `MaskRCNN`, where the task of the manifest is "instance". Not
            changed.
        manifest: height and width are the file's picture size; its outputs are set to what the file gives
            ("logits" stays, where asked for).
        path: the ONNX file; replaced only when the new one is complete and agrees with torch.
        inline: write the fused steps in standard operators instead of function calls.
        shape: the batch, and whether the size is left open; the manifest's is then the usual one.

    Returns:
        What the comparison found.

    Raises:
        UsageError: the size is to be left open, which this kind of model, or its usual size, does not allow.
        ModelError: classes and logits do not fit, the file is invalid or differs from torch by more than a level; the
            network's graph is true for one size only.
        OutputError: the file cannot be written.
    """
    from edgeseg.export.check import check_export
    from edgeseg.export.instances import build_instances

    instance = manifest.task == "instance"
    proto = build_instances(model, manifest, shape) if instance else build(model, manifest, inline, shape)
    with written_aside(Path(path)) as part:
        save(proto, part)
        return check_export(model, part)


def build(model: nn.Module, manifest: Manifest, inline: bool = False, shape: Shape = ANY_BATCH) -> onnx.ModelProto:
    """The ONNX model of `export_onnx`, checked by onnx's checker, not yet compared with torch."""
    import onnx
    import torch

    from edgeseg.export import camera, fold, fused_step, graph
    from edgeseg.export.trace import in_channels, trace

    free = shape.free_size
    manifest = with_step(model, manifest, free)
    pads = padding(manifest.height, manifest.width, int(model.stride))  # type: ignore[arg-type]
    rows, columns = manifest.height + pads[0] + pads[2], manifest.width + pads[1] + pads[3]
    folded = copy.deepcopy(model).eval().float().cpu()
    pairs = fold.norm_pairs(folded, torch.zeros(1, in_channels(model), rows, columns))
    norms = fold.pack_norms(folded, pairs)
    fold.fold_norms(folded, pairs)
    proto = trace(folded, rows, columns, step=manifest.origin.get(STEP_KEY))
    channels, *made = (dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim[1:])
    height, width = (rows, columns) if free else made
    manifest = dataclasses.replace(fit_outputs(manifest, channels), memory=in_channels(model) > 3)
    cut = None
    if (height, width) == (rows, columns) and any(pads):
        cut = (pads[0], pads[1])
    if cut is None and (height, width) != (manifest.output_height, manifest.output_width):
        seen = f"{height}x{width}, manifest {manifest.output_height}x{manifest.output_width}"
        raise ModelError("the network's output has another size than the manifest says", seen, "Correct the manifest")
    camera.add_camera(proto.graph, _triple(model.mean), _triple(model.std), manifest, pads, free)
    camera.add_labels(proto.graph, manifest, cut, free)
    graph.prune(proto)
    if inline:
        proto = fused_step.inline(proto)
    fused_step.attach(proto)
    fix_batch(proto, shape.batch)
    onnx.helper.set_model_props(proto, {METADATA_KEY: manifest.to_json(), fold.NORMS_KEY: norms})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def padding(height: int, width: int, stride: int) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) that make height x width a multiple of `stride`, the odd pixel below and right."""
    rows, columns = -height % stride, -width % stride
    return rows // 2, columns // 2, rows - rows // 2, columns - columns // 2


def fit_outputs(manifest: Manifest, channels: int) -> Manifest:
    """The manifest with the outputs that a network of `channels` logits gives; ModelError where classes do not fit."""
    wanted = 1 if len(manifest.classes) == 2 and channels == 1 else len(manifest.classes)
    if manifest.task != "semantic" or channels != wanted:
        seen = f"{channels} channels, {len(manifest.classes)} classes, task {manifest.task}"
        todo = "A semantic model has one channel a class, or a single one for two classes"
        raise ModelError("logits and class map do not fit", seen, todo)
    outputs = ("label_map", "probability") if channels == 1 else ("label_map",)
    extra = tuple(name for name in manifest.outputs if name == "logits")
    return dataclasses.replace(manifest, outputs=outputs + extra)


def _triple(values: object) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]
    return red, green, blue


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` at the end, removed on an error.

    Raises:
        OutputError: the folder is missing or cannot be written to, or the disk is full.
    """
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        # mkstemp makes files for their owner alone; a model is as readable as any new file.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        os.replace(part, path)
    except OSError as error:
        seen = f"{path} ({error.strerror or error})"
        raise OutputError("cannot write the file", seen, "Choose another place") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model's bytes to `path`."""
    path.write_bytes(model.SerializeToString())
