"""Where a network has to round to compute what its int8 file will: read off the file's plan, for any semantic network.

The file names a layer as the network does, so one pass with a picture tells which module gives what a layer reads. That
module's output is rounded, for all its readers; where the values come from no module (a function in between, or a
module that is called twice), the layer rounds its own input. Weights are rounded before their norm, which scales each
output channel as a whole: the levels are those of the folded weights. The camera's bytes stay as they are, as in
`edgeseg.train.fake_quant`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgeseg.calib.observers import LEVELS
from edgeseg.errors import ModelError
from edgeseg.export.camera import PICTURES
from edgeseg.export.quantize import Plan, weight_levels
from edgeseg.models.blocks import ConvNormAct, freeze_norms, round_weight


@dataclass(frozen=True, slots=True)
class Rounding:
    """Steps and levels by module name.

    Attributes:
        outputs: step of what a module gives.
        inputs: step of what a module takes.
        weights: levels either way of the weights of a `ConvNormAct` or `Conv2d`.
    """

    outputs: Mapping[str, float]
    inputs: Mapping[str, float]
    weights: Mapping[str, int]

    def apply(self, network: nn.Module) -> None:
        """Let `network` round from now on, in training and in evaluation; the norms of its `ConvNormAct`s freeze."""
        freeze_norms(network)
        for name, levels in self.weights.items():
            layer = network.get_submodule(name)
            if not isinstance(layer, ConvNormAct):
                layer.__class__ = _RoundedConv
            layer.weight_levels = levels  # type: ignore[assignment]
        for name, step in self.outputs.items():
            network.get_submodule(name).register_forward_hook(RoundOutput(step))
        for name, step in self.inputs.items():
            network.get_submodule(name).register_forward_pre_hook(_RoundInputs(step))


@torch.no_grad()
def find_rounding(network: nn.Module, plan: Plan, example: Tensor) -> Rounding:
    """Where `network` rounds as the file of `plan` will.

    Args:
        network: in evaluation mode; stays as it is.
        plan: of the network's fp32 file, by `edgeseg.export.quantize.plan`.
        example: float32 [1, in_channels, H, W], a size that the network takes.

    Raises:
        ModelError: a layer of the plan is not in the network.
    """
    layers = _layers(network)
    sources = _sources(network, [*layers.values(), *(node.name for node in plan.steps)], example)
    outputs: dict[str, float] = {}
    inputs: dict[str, float] = {}

    def mark(reader: str, step: float) -> None:
        for source in sources[reader]:
            if source is None or outputs.setdefault(source, step) != step:
                inputs[reader] = step

    for node in plan.steps:
        _known(node.name, sources)
        outputs[node.name] = plan.scale(node.output[0])
        mark(node.name, plan.scale(node.output[0]))
    weights = {}
    for node in plan.layers:
        name = layers.get(node.name, node.name)
        _known(name, sources)
        if node.input[0] not in PICTURES:
            mark(name, plan.scale(node.input[0]))
        weights[name] = levels_of(cast(nn.Conv2d, network.get_submodule(node.name)))
    return Rounding(outputs, inputs, weights)


def levels_of(convolution: nn.Conv2d) -> int:
    """Levels either way that the file gives a convolution's weights."""
    return weight_levels(convolution.groups > 1 and convolution.weight.shape[1] == 1)


def _layers(network: nn.Module) -> dict[str, str]:
    """For each convolution's name that of the module which stands for it: its `ConvNormAct`, or itself."""
    found = {name: name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    own = {f"{name}.0": name for name, module in network.named_modules() if isinstance(module, ConvNormAct)}
    return found | own


def _sources(network: nn.Module, readers: list[str], example: Tensor) -> dict[str, list[str | None]]:
    """For each reader the modules whose outputs it takes, None for those of no module that could be named."""
    # The version tells a tensor that was changed in place afterwards, which its maker's hook could not round.
    made: dict[int, tuple[str, int]] = {}
    kept: list[Any] = []  # keeps every output alive, so that an id is never given twice
    calls: Counter[str] = Counter()
    found: dict[str, list[str | None]] = {}
    handles = []

    def before(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            makers = [(value, *made.get(id(value), (None, 0))) for value in inputs]
            found[name] = [maker if value._version == version else None for value, maker, version in makers]

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] += 1
            # What only passes a tensor on (Identity, Dropout) does not make it.
            passed = any(output is value for value in inputs) and not getattr(module, "inplace", False)
            if isinstance(output, Tensor) and not passed:
                kept.append(output)
                made[id(output)] = (name, output._version)

        return hook

    for name, module in network.named_modules():
        if name in readers:
            handles.append(module.register_forward_pre_hook(before(name)))
        if name:
            handles.append(module.register_forward_hook(after(name)))
    try:
        network(example)
    finally:
        for handle in handles:
            handle.remove()
    return {name: [s if s is not None and calls[s] == 1 else None for s in each] for name, each in found.items()}


def _known(name: str, sources: Mapping[str, Any]) -> None:
    if name not in sources:
        raise ModelError("a layer of the file is not in the network", name, "Export it again from its checkpoint")


class _RoundedConv(nn.Conv2d):
    """A convolution on rounded weights."""

    weight_levels: int

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self._conv_forward(input, round_weight(self.weight, self.weight_levels), self.bias)
        return result


class RoundOutput:
    """A forward hook that rounds a module's output to steps of int8. A class, so that a copied network keeps it."""

    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _rounded(output, self.step)


class _RoundInputs:
    def __init__(self, step: float) -> None:
        self.step = step

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(_rounded(value, self.step) for value in inputs)


def _rounded(values: Tensor, step: float) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(values, step, 0, -LEVELS - 1, LEVELS)
