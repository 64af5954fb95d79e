"""Batch norm folded into the convolution before it, in torch, and what is needed to unfold it again.

In evaluation mode a norm computes `gamma * (y - mean) / sqrt(var + eps) + beta`, one scale and one shift a channel,
which the convolution's weights and bias take over. Arithmetic is float64; the result is rounded to float32 once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Batch norms of the model in its file's metadata: a fine-tune that starts from the file needs them.
NORMS_KEY = "edgeseg.norms"
_FIELDS = ("weight", "running_mean", "running_var")


def norm_pairs(model: nn.Module, example: Tensor) -> dict[str, str]:
    """Which batch norm follows which convolution, found by running `example` through the model.

    Returns:
        {path of the Conv2d: path of the BatchNorm2d that alone takes its output}; shared modules are left out.
    """
    import torch
    from torch import nn

    made: dict[int, str] = {}
    kept: list[Any] = []  # keeps every output alive, so that an id is never given twice
    calls: dict[str, int] = {}
    pairs: dict[str, str] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):

            def after(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
                made[id(output)] = name
                kept.append(output)
                calls[name] = calls.get(name, 0) + 1

            handles.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d):

            def before(_module: nn.Module, inputs: Any, name: str = name) -> None:
                calls[name] = calls.get(name, 0) + 1
                if id(inputs[0]) in made:
                    pairs[made[id(inputs[0])]] = name

            handles.append(module.register_forward_pre_hook(before))
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return {conv: norm for conv, norm in pairs.items() if calls[conv] == 1 and calls[norm] == 1}


def fold_norms(model: nn.Module, pairs: Mapping[str, str]) -> None:
    """Fold each norm of `pairs` into its convolution, in place; an `nn.Identity` takes the norm's place."""
    import torch
    from torch import nn

    for conv_name, norm_name in pairs.items():
        conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        factor, mean, beta = _affine(norm)
        bias = torch.zeros_like(mean) if conv.bias is None else conv.bias.detach().double()
        weight = conv.weight.detach().double() * factor[:, None, None, None]
        conv.weight = nn.Parameter(weight.float(), requires_grad=False)
        conv.bias = nn.Parameter((beta + (bias - mean) * factor).float(), requires_grad=False)
        parent, _, leaf = norm_name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Identity())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """(factor, mean, beta) in float64, each [C]."""
    import torch

    if norm.running_mean is None or norm.running_var is None:
        raise ModelError("a batch norm keeps no running statistics", norm, "Build it with track_running_stats=True")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    return gamma / torch.sqrt(variance + norm.eps), mean, beta


def pack_norms(model: nn.Module, pairs: Mapping[str, str]) -> str:
    """Scale and statistics of the norms in `pairs` as JSON text: {norm: {field: float32 bytes in base64}}."""
    body: dict[str, dict[str, str]] = {}
    for norm_name in pairs.values():
        norm = model.get_submodule(norm_name)
        values = {field: getattr(norm, field) for field in _FIELDS}
        body[norm_name] = {
            field: base64.b64encode(value.detach().float().numpy().tobytes()).decode()
            for field, value in values.items()
            if value is not None
        }
    return json.dumps(body, sort_keys=True)


def unpack_norms(text: str) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
    """The reverse of `pack_norms`: {norm: {field: float32 [C]}}; ModelError where the text is damaged."""
    try:
        body = json.loads(text)
        return {norm: {field: _floats(value) for field, value in fields.items()} for norm, fields in body.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelError("the file's batch norms cannot be read", error, "Export the model again") from None


def _floats(text: str) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), np.float32)
