"""An exported file against the torch model it came from: the same pictures, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.export.shape import STEP_KEY, shape_of
from edgeseg.manifest import PREVIOUS, Manifest
from edgeseg.runtime.backends.base import first_line
from edgeseg.runtime.postprocess import threshold_byte

if TYPE_CHECKING:
    from torch import Tensor, nn

Inputs = Mapping[str, npt.NDArray[np.uint8]]
# Float arithmetic in another order moves a probability across a rounding border now and then, never further.
MAX_LEVELS = 1
MIN_AGREEMENT = 0.999
MIN_ROWS = 0.9
_FAULT = "This is a fault of the export; with --dynamic-size the network may not be made for it: leave that out"


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison found.

    Attributes:
        images: pictures compared.
        max_levels: largest difference of `probability`, in levels of 255; 0 for models without that output.
        label_agreement: share of pixels with the same label, of detections for instance models, 0 to 1.
        detections: rows of all pictures with a score, for instance models.
    """

    images: int
    max_levels: int
    label_agreement: float
    detections: int = 0


def check_export(model: nn.Module, path: Path | str, images: Sequence[npt.NDArray[np.uint8]] | None = None) -> Report:
    """Run `model` in torch and the file at `path` in ONNX Runtime on the same pictures.

    Args:
        model: as `export_onnx` takes it.
        path: a file with the camera contract and a manifest.
        images: uint8 [H, W, 3] BGR of the file's own size; when None, noise and drawn scenes, which a file that leaves
            its size open is given in another size, too.

    Raises:
        ModelError: a probability differs by more than one level, or fewer than 99.9 % of the labels agree, or fewer
            than 90 % of an instance model's detections; or ONNX Runtime does not run the file.
    """
    from edgeseg.calib.model_file import read_model
    from edgeseg.export.from_checkpoint import resized

    proto, manifest = read_model(path)
    pictures = np.stack(sample_pictures(manifest.height, manifest.width) if images is None else images)
    if manifest.task == "instance":
        return _check_instances(model, manifest, pictures, Path(path))
    reports = [_compare(model, path, manifest, pictures)]
    if shape_of(proto).free_size and images is None:
        step = int(manifest.origin[STEP_KEY])
        other = resized(manifest, (manifest.height + step, manifest.width + step), model)
        reports.append(_compare(model, path, other, np.stack(sample_pictures(other.height, other.width)[-2:])))
    report = Report(
        sum(one.images for one in reports),
        max(one.max_levels for one in reports),
        min(one.label_agreement for one in reports),
    )
    if report.max_levels > MAX_LEVELS or report.label_agreement < MIN_AGREEMENT:
        seen = f"{report.max_levels} levels of 255, {report.label_agreement:.2%} of the labels agree"
        raise ModelError("the exported file differs from the torch model", seen, "This is a fault of the export")
    return report


def _compare(model: nn.Module, path: Path | str, manifest: Manifest, pictures: npt.NDArray[np.uint8]) -> Report:
    """Torch and the file on pictures of the manifest's size."""
    # Any channel of the pictures does for the probability of a frame before.
    inputs = {"image": pictures} | ({PREVIOUS: pictures[..., 1]} if manifest.memory else {})
    expected = run_torch(model, inputs, manifest)
    got = _run_file(path, inputs)
    sizes = [f"{rows}x{columns}" for rows, columns in (made["label_map"].shape[1:] for made in (got, expected))]
    if sizes[0] != sizes[1]:
        raise ModelError("the exported file gives another size than torch", " and ".join(sizes), _FAULT)
    levels = 0
    if "probability" in got:
        difference = np.abs(got["probability"].astype(np.int16) - expected["probability"])
        levels = int(difference.max())
    return Report(len(pictures), levels, float(np.mean(got["label_map"] == expected["label_map"])))


def _check_instances(model: Any, manifest: Any, pictures: npt.NDArray[np.uint8], path: Path) -> Report:
    """Every detection of torch must stand in the file's answer, in any row: nearly equal scores may change places.

    Both are asked for every score: nothing on these pictures need reach the threshold of a trained network.
    """
    import onnx

    from edgeseg.export import graph as g

    expected = _run_static(model, _normalized(model, pictures), manifest, least=0.0)
    proto = onnx.load(path)
    for tensor in list(proto.graph.initializer):
        if tensor.name.endswith(".least"):
            g.put(proto.graph, tensor.name, np.zeros(1, np.float32))
    got = _run_file(proto.SerializeToString(), {"image": pictures})
    found = expected["scores"] > 0
    same = [
        _stands_in({name: value[k, row] for name, value in expected.items()}, {name: got[name][k] for name in expected})
        for k, row in zip(*np.nonzero(found), strict=True)
    ]
    agreement = float(np.mean(same)) if same else 1.0
    given = int((got["scores"] > 0).sum())
    if agreement < MIN_ROWS or given * MIN_ROWS > len(same):
        seen = f"{agreement:.2%} of {len(same)} detections agree, the file has {given}"
        raise ModelError("the exported file differs from the torch model", seen, "This is a fault of the export")
    return Report(len(pictures), 0, agreement, len(same))


def _stands_in(one: dict[str, npt.NDArray[Any]], rows: dict[str, npt.NDArray[Any]]) -> bool:
    """Whether a detection is among the rows: score, box in pixels, class and mask."""
    near = (np.abs(rows["scores"] - one["scores"]) < 1e-3) & (np.abs(rows["boxes"] - one["boxes"]).max(-1) < 0.5)
    near &= (rows["classes"] == one["classes"]) & (np.abs(rows["masks"] - one["masks"]).max((-1, -2)) < 0.02)
    return bool(near.any())


def sample_pictures(height: int, width: int) -> list[npt.NDArray[np.uint8]]:
    """Noise, flat black and white, and two drawn scenes: uint8 [height, width, 3] each, always the same."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    noise = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    pictures = [noise, np.zeros_like(noise), np.full_like(noise, 255)]
    for _ in range(2):
        slopes = rng.uniform(2, 9, (2, 3))
        scene = 127 + 120 * np.sin(rows[..., None] * slopes[0] + columns[..., None] * slopes[1] + rng.uniform(0, 6, 3))
        y, x, radius = rng.uniform(0.2, 0.6, 3)
        scene[(rows - y) ** 2 + (columns - x) ** 2 < radius**2 / 4] = rng.uniform(0, 255, 3)
        pictures.append(np.clip(scene + rng.normal(0, 4, scene.shape), 0, 255).astype(np.uint8))
    return pictures


def run_torch(model: nn.Module, inputs: Inputs, manifest: Any) -> dict[str, npt.NDArray[Any]]:
    """What the file of `model` gives for `inputs`, by torch; `logits` float32 [N, C, h, w] of semantic ones."""
    import torch
    import torch.nn.functional as F

    from edgeseg.export.to_onnx import padding

    x = _normalized(model, inputs["image"])
    if manifest.task == "instance":
        return _run_static(model, x, manifest)
    if manifest.memory:
        x = torch.cat([x, torch.from_numpy(inputs[PREVIOUS].copy())[:, None].float() / 255], dim=1)
    top, left, bottom, right = padding(manifest.height, manifest.width, int(model.stride))  # type: ignore[arg-type]
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(F.pad(x, (left, right, top, bottom)))
    model.train(was_training)
    if logits.shape[-2] != manifest.output_height or logits.shape[-1] != manifest.output_width:
        logits = logits[..., top : top + manifest.output_height, left : left + manifest.output_width]
    if manifest.two_class:
        levels = torch.round(255 * torch.sigmoid(logits[:, 0])).clamp(0, 255).to(torch.uint8).numpy()
        labels = (levels >= threshold_byte(manifest.threshold)).astype(np.uint8)
        return {"probability": levels, "label_map": labels, "logits": logits.numpy()}
    return {"label_map": logits.argmax(1).to(torch.uint8).numpy(), "logits": logits.numpy()}


def _run_static(model: Any, x: Tensor, manifest: Any, least: float | None = None) -> dict[str, npt.NDArray[Any]]:
    """An instance network's answer in its static form; detections count above `least`, its own unless given."""
    import torch

    from edgeseg.export.static_detector import StaticDetector

    was_training = model.training
    static = StaticDetector(model.eval(), manifest.height, manifest.width, manifest.max_detections)
    if least is not None:
        static.suppress_detections.least = least
    with torch.no_grad():
        found = static(x)
    model.train(was_training)
    return {name: value.numpy() for name, value in zip(manifest.outputs, found, strict=True)}


def _normalized(model: Any, pictures: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] BGR -> float32 [N, 3, H, W] RGB, as the network takes it."""
    import torch

    rgb = torch.from_numpy(pictures[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(list(values)).view(1, 3, 1, 1) for values in (model.mean, model.std))
    return (rgb - mean) / std


def _run_file(file: Path | str | bytes, inputs: Inputs) -> dict[str, npt.NDArray[Any]]:
    import onnxruntime

    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    count, fixed = len(inputs["image"]), session.get_inputs()[0].shape[0]
    size = fixed if isinstance(fixed, int) else count
    parts = []
    for start in range(0, count, size):
        # A file of a fixed batch gets the last pictures more than once.
        rows = np.minimum(np.arange(start, start + size), count - 1)
        try:
            parts.append(session.run(names, {name: value[rows] for name, value in inputs.items()}))
        except Exception as error:  # its exceptions have no common base
            seen = f"{inputs['image'].shape[1]}x{inputs['image'].shape[2]} ({first_line(error)})"
            raise ModelError("ONNX Runtime does not run the exported file", seen, _FAULT) from None
    return {name: np.concatenate(values)[:count] for name, *values in zip(names, *parts, strict=True)}
