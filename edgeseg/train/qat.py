"""A short training of a finished fp32 file on the values that its int8 file will have.

    fp32 file -> network, rounding at the steps of its ranges <- labels of a data set, and the float network as teacher
    -> fp32 file of the trained weights, with the ranges that it was trained for -> `edgeseg.export.quantize`

The ranges stay as they were calibrated: the network learns to live with exactly these steps, and steps chosen anew
would be others. What lies beyond a range is cut off in training as in the file. Loss and samples are those of the
recipe that the file was trained by, where it says so. The norms keep their statistics, and the average of the weights
is what counts.

For networks that int8 costs something: one that was trained on rounded values already has nothing to win by it, and
may lose a little.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from edgeseg.calib.model_file import read_float_model
from edgeseg.calib.ranges import Ranges, file_sha256
from edgeseg.config import from_mapping
from edgeseg.data.memory import Memory
from edgeseg.data.pool import SetConfig
from edgeseg.data.scenes import Scenes
from edgeseg.errors import UsageError
from edgeseg.export import fused_step
from edgeseg.export.from_checkpoint import load_for_export
from edgeseg.export.quantize import plan
from edgeseg.export.to_onnx import export_onnx, padding
from edgeseg.manifest import Manifest
from edgeseg.models.base import SemanticNetwork
from edgeseg.train.criterion import LossConfig
from edgeseg.train.loop import Run
from edgeseg.train.optimizer import OptimizerConfig
from edgeseg.train.recipe import NetworkConfig, Phase, Recipe
from edgeseg.train.rounding import find_rounding

STEPS, RATE, BATCH = 300, 5e-5, 8
AVERAGE = 0.98


def train_for_int8(
    model: Path,
    ranges: Ranges,
    data: Path,
    out: Path,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
    split: str = "train",
    keep_float: Collection[str] = (),
) -> Ranges:
    """Write the fp32 file of the trained weights; `quantize` makes the int8 file of it and of what this returns.

    Args:
        model: an fp32 file of a semantic network.
        ranges: its table.
        data: a set with masks, of the model's classes.
        out: the file to write.
        steps: of the optimizer.
        rate: highest learning rate.
        seed: of samples and order.
        split: what to learn from.
        keep_float: layers that will stay in float.

    Returns:
        The table for the new file: the same ranges.

    Raises:
        UsageError: an instance model.
        InputError: a file, or the data, cannot be read; OutputError: the file cannot be written.
        ModelError: the file does not say which network it holds, or the ranges are not its own.
    """
    ranges.check(model)
    proto, manifest = read_float_model(model)
    if manifest.task == "instance":
        todo = "Leave --qat out; --max-drop keeps the costliest layers in float"
        raise UsageError("instance models are not trained for int8", model, todo)
    loaded, manifest = load_for_export(model)
    network = cast(SemanticNetwork, loaded)
    recipe = make_recipe(manifest, network, steps, rate, seed, split)
    example = torch.zeros(1, network.in_channels, *recipe.size)
    rounding = find_rounding(network, plan(proto, ranges, keep_float), example)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, data, Path(folder), network, [copy.deepcopy(network)], rounding)
        run.fit()
        network.load_state_dict(run.average.network.state_dict())
    note = {"steps": steps, "rate": rate, "seed": seed, "data": str(data), "split": split}
    note |= {"ranges": ranges.fingerprint}
    manifest = dataclasses.replace(manifest, origin=dict(manifest.origin) | {"qat": note})
    inlined = not any(fused_step.is_step(node) for node in proto.graph.node)
    export_onnx(network, manifest, out, inlined)
    # The steps that it learned to live with are those of its channels as they are.
    return dataclasses.replace(ranges, model_sha256=file_sha256(out), channels={})


def make_recipe(manifest: Manifest, network: SemanticNetwork, steps: int, rate: float, seed: int, split: str) -> Recipe:
    """What such a training does, at the size of the file's input rounded up to what the network takes."""
    architecture, kept = manifest.architecture, manifest.origin.get("recipe", {})
    top, left, bottom, right = padding(manifest.height, manifest.width, network.stride)
    size = (manifest.height + top + bottom, manifest.width + left + right)
    return Recipe(
        name=manifest.name,
        network=NetworkConfig(architecture["name"], architecture.get("args", {})),
        size=size,
        train=(SetConfig(".", split),),
        steps=steps,
        phases=(Phase(1.0, (size,), BATCH),),
        classes=manifest.class_names,
        colors=tuple(info.color for info in manifest.classes),
        freeze_norms=True,
        loss=_kept(LossConfig, kept, "loss"),
        scenes=_kept(Scenes, kept, "scenes"),
        memory=_kept(Memory, kept, "memory"),
        ema=AVERAGE,
        workers=0,
        seed=seed,
        optimizer=OptimizerConfig(lr=rate, encoder_lr=rate, warmup=max(1, steps // 10)),
        checkpoint_every=steps,
        val_every=steps,
        fit=manifest.fit,
    )


def _kept(kind: type[Any], recipe: Mapping[str, Any], key: str) -> Any:
    """A part of the recipe in the file's manifest; the default where it has none, or one of another version."""
    try:
        return from_mapping(kind, recipe[key], key)
    except (KeyError, TypeError, UsageError):
        return kind()
