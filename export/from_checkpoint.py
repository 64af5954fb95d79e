"""What `edgeseg export` starts from: a training checkpoint, or an fp32 model file taken back into torch."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.manifest import ENGINE_SUFFIX, INSTANCE_OUTPUTS, Manifest
from edgeseg.types import ClassInfo

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT_FORMAT = 1
CHECKPOINT_SUFFIXES = (".pt", ".pth")
# BGR of the foreground classes where a recipe names no colours: far apart, readable on dark and light pictures.
_COLORS = ((80, 200, 60), (60, 120, 240), (230, 150, 40), (190, 70, 200), (40, 210, 230), (150, 110, 60), (90, 60, 230))


def load_for_export(source: Path | str, size: tuple[int, int] | None = None) -> tuple[nn.Module, Manifest]:
    """The network in evaluation mode and the manifest of the file to be.

    Args:
        source: `last.pt` of a training run (the averaged weights are taken), an fp32 .onnx file, or the name of a
            shipped model.
        size: (height, width) of the file's input; the checkpoint's or file's own when None.

    Raises:
        UsageError: no such shipped model, or an impossible size.
        InputError: the file cannot be read.
        ModelError: it is neither a checkpoint nor an fp32 model file of edgeseg.
    """
    path = _locate(source)
    model, manifest = _from_onnx(path) if path.suffix in (".onnx", ENGINE_SUFFIX) else _from_checkpoint(path)
    return model.eval(), resized(manifest, size or (manifest.height, manifest.width), model)


def resized(manifest: Manifest, size: tuple[int, int], model: nn.Module) -> Manifest:
    """The manifest for an input size (height, width), and for what `model` then gives."""
    height, width = size
    if min(size) < 1:
        raise UsageError("impossible size", f"{height}x{width}", "Give HEIGHTxWIDTH in pixels, such as 144x256")
    rows, columns = model.output_size(height, width)  # type: ignore[operator]
    offset = ((height - rows) // 2, (width - columns) // 2)
    return dataclasses.replace(
        manifest, height=height, width=width, output_height=rows, output_width=columns, offset=offset
    )


def _locate(source: Path | str) -> Path:
    """The file that `source` means: a path, or the fp32 file of a shipped model."""
    from edgeseg.runtime.zoo import find_model

    if Path(source).suffix in CHECKPOINT_SUFFIXES:
        return Path(source)
    found = find_model(source).files
    if "file" not in found and "fp32" not in found:
        raise ModelError("the shipped model has no fp32 file", source, "Install edgeseg again")
    return found.get("file") or found["fp32"]


def _from_onnx(path: Path) -> tuple[nn.Module, Manifest]:
    from edgeseg.calib.model_file import read_float_model
    from edgeseg.export.recover import state_dict_from_onnx

    _, manifest = read_float_model(path)
    model = _build(manifest.architecture, len(manifest.classes), path)
    traced = _traced(model, manifest)
    traced.load_state_dict(state_dict_from_onnx(traced, path))
    origin = dict(manifest.origin) | {"parent_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return model, dataclasses.replace(manifest, origin=origin)


def _traced(model: nn.Module, manifest: Manifest) -> nn.Module:
    """What the file was traced from: the network, or an instance network's static form, which shares its weights."""
    if manifest.task != "instance":
        return model
    from edgeseg.export.static_detector import StaticDetector

    return StaticDetector(model.eval(), manifest.height, manifest.width, manifest.max_detections)  # type: ignore[arg-type]


def _from_checkpoint(path: Path) -> tuple[nn.Module, Manifest]:
    from edgeseg.models import INSTANCE_REGISTRY

    body = _read(path)
    names = list(body["classes"])
    model = _build(body["model"], len(names), path)
    try:
        model.load_state_dict(body["ema"])
    except RuntimeError as error:
        cause, seen = "the checkpoint does not fit the network it names", f"{path} ({str(error).splitlines()[0]})"
        raise ModelError(cause, seen, "Train again with this edgeseg") from None
    height, width = body["size"]
    task = "instance" if body["model"]["name"] in INSTANCE_REGISTRY else "semantic"
    manifest = Manifest(
        name=str(body["name"]),
        classes=class_map(names, body.get("colors") or ()),
        height=int(height),
        width=int(width),
        fit=body["fit"],
        task=task,
        outputs=_outputs(task, len(names)),
        architecture=dict(body["model"]),
        origin={
            "recipe": _portable(body.get("recipe", {})),
            "step": body.get("step"),
            "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
    )
    return model, manifest


def _portable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without folders of the machine that it ran on: of absolute paths the run's and the file's name stay."""
    return {
        key: str(Path(*Path(value).parts[-2:])) if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in recipe.items()
    }


def _outputs(task: str, classes: int) -> tuple[str, ...]:
    if task == "instance":
        return INSTANCE_OUTPUTS
    return ("label_map", "probability") if classes == 2 else ("label_map",)


def _read(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError("cannot read the checkpoint", f"{path} ({error.strerror})", "Give last.pt of a run") from None
    except Exception as error:  # torch raises whatever its unpickler met
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError("not a checkpoint", f"{path} ({reason})", "Give last.pt of a run, or an .onnx file") from None
    needed = {"name", "model", "ema", "classes", "size", "fit"}
    if not isinstance(body, dict) or body.get("format") != CHECKPOINT_FORMAT or not needed <= body.keys():
        raise ModelError("not a checkpoint of edgeseg", path, "Give last.pt of a run")
    return body


def _build(architecture: Mapping[str, Any], classes: int, where: Path) -> nn.Module:
    from edgeseg.models import INSTANCE_REGISTRY, build, build_instance

    if "name" not in architecture:
        raise ModelError("the file does not say which network it holds", where, "Export it again from its checkpoint")
    if architecture["name"] in INSTANCE_REGISTRY:
        return build_instance(architecture["name"], **{"classes": classes, **architecture.get("args", {})})
    arguments = {"classes": 1 if classes == 2 else classes, **architecture.get("args", {})}
    return build(architecture["name"], **arguments)


def class_map(names: Sequence[str], colors: Sequence[Sequence[int]] = ()) -> tuple[ClassInfo, ...]:
    """The class map of `names` by id, with `colors` (BGR) or, where they are too few, a palette of our own."""
    infos = []
    for number, name in enumerate(names):
        fallback = (0, 0, 0) if number == 0 else _COLORS[(number - 1) % len(_COLORS)]
        blue, green, red = colors[number] if number < len(colors) else fallback
        infos.append(ClassInfo(number, name, (int(blue), int(green), int(red))))
    return tuple(infos)
