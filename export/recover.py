"""The way back: weights of an exported fp32 file as a torch state_dict, to export again or to start a fine-tune from.

The exporter names convolutions after their modules and keeps each folded norm's scale and statistics in the file's
metadata, so the original weights come back up to float rounding, and training can go on as if from a checkpoint. Where
that metadata is missing the norms become identities: right for inference and export, not for training.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

# A channel whose norm scales it by less than this is dead: its weights cannot be told from rounding noise.
_DEAD = 1e-12
_BIASED = ("Conv", "ConvTranspose", "Gemm")


def state_dict_from_onnx(model: nn.Module, onnx_path: Path | str) -> dict[str, Tensor]:
    """Weights of an fp32 file for `model`, ready for `load_state_dict(strict=True)`.

    Args:
        model: the network that the file was exported from (same architecture); gives shapes, is not changed.
        onnx_path: a file by `export_onnx`, with or without --inline.

    Raises:
        InputError, ModelError: the file cannot be read, is quantized, or belongs to another network.
    """
    import torch

    from edgeseg.calib.model_file import read_float_model
    from edgeseg.export import fold
    from edgeseg.export.to_onnx import padding
    from edgeseg.export.trace import in_channels

    proto, manifest = read_float_model(onnx_path)
    pads = padding(manifest.height, manifest.width, int(model.stride))  # type: ignore[arg-type]
    rows, columns = manifest.height + pads[0] + pads[2], manifest.width + pads[1] + pads[3]
    pairs = fold.norm_pairs(model.eval(), torch.zeros(1, in_channels(model), rows, columns))
    text = next((item.value for item in proto.metadata_props if item.key == fold.NORMS_KEY), "{}")
    found = _raw(proto.graph, [float(v) for v in model.std])  # type: ignore[union-attr]
    for conv, norm in pairs.items():
        if f"{conv}.weight" in found:
            _unfold(found, model, conv, norm, fold.unpack_norms(text).get(norm))
    state = {}
    for key, wanted in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros_like(wanted)
            continue
        value = found.get(key)
        if value is None or tuple(value.shape) != tuple(wanted.shape):
            seen = f"{key}: {'missing' if value is None else tuple(value.shape)}, wanted {tuple(wanted.shape)}"
            raise ModelError(f"{onnx_path} belongs to another network", seen, "Build the network its manifest names")
        state[key] = torch.from_numpy(np.array(value, np.float32)).to(wanted.dtype)
    return state


def _raw(graph: onnx.GraphProto, std: list[float]) -> dict[str, npt.NDArray[Any]]:
    """The file's weights by state_dict key, the first convolution's colours unfolded, norms still folded."""
    from edgeseg.export import camera
    from edgeseg.export import graph as g

    found = {name: g.array(tensor) for name, tensor in g.weights(graph).items()}
    for node in graph.node:
        # torch's exporter keeps one of several equal tensors, and drops biases that are zeros.
        if node.op_type in _BIASED and node.input[1].endswith(".weight"):
            shape = found[node.input[1]].shape
            channels = shape[1] * g.attribute(node, "group", 1) if node.op_type == "ConvTranspose" else shape[0]
            bias = found[node.input[2]] if len(node.input) == 3 else np.zeros(channels, np.float32)
            found[f"{node.input[1].removesuffix('.weight')}.bias"] = bias
        if node.op_type == "Conv" and node.input[0] in camera.PICTURES:
            found[node.input[1]] = camera.unfold_colours(found[node.input[1]].astype(np.float64), std)
    return found


def _unfold(
    found: dict[str, npt.NDArray[Any]],
    model: nn.Module,
    conv: str,
    norm: str,
    kept: dict[str, npt.NDArray[np.float32]] | None,
) -> None:
    """Split a folded convolution into weights and norm again, in `found`."""
    weight = found[f"{conv}.weight"].astype(np.float64)
    channels = weight.shape[0]
    bias = found.pop(f"{conv}.bias", np.zeros(channels)).astype(np.float64)
    eps = float(model.get_submodule(norm).eps)  # type: ignore[arg-type]
    # Without statistics: mean 0, variance 1, and a gamma that makes the scale exactly one.
    zeros, ones = np.zeros(channels), np.ones(channels)
    identity = {"running_mean": zeros, "running_var": ones, "weight": ones * (1 + eps) ** 0.5}
    values = identity | {key: value.astype(np.float64) for key, value in (kept or {}).items()}
    factor = values["weight"] / np.sqrt(values["running_var"] + eps)
    safe = np.where(np.abs(factor) > _DEAD, factor, 1.0)
    found[f"{conv}.weight"] = weight / safe[:, None, None, None]
    # The norm's shift takes the whole bias over; a convolution that has one of its own gets zeros.
    found[f"{conv}.bias"] = np.zeros(channels)
    found |= {f"{norm}.{key}": value for key, value in values.items()}
    found[f"{norm}.bias"] = bias + values["running_mean"] * factor
