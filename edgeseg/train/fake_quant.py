"""Quantization-aware training: the network computes in float on the values that the int8 file will have.

Weights and activations are rounded where `export.quantize` puts its pairs, to the same levels. Gradients pass as if
nothing had been rounded, and stop where a value is cut off (straight-through estimator; Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"). Norms are folded into
their convolutions, as in the file. The head's weights, the camera's bytes and concatenations outside the decoder's
fused steps stay as they are. Networks are taken whose convolutions are all `ConvNormAct`s, but for the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgeseg.calib.observers import LEVELS, METHODS, MinMax
from edgeseg.errors import UsageError
from edgeseg.models.blocks import ConvNormAct, InvertedResidual, freeze_norms
from edgeseg.models.encoders.base import PadEven
from edgeseg.models.ops import UpsampleCropConcat
from edgeseg.train.rounding import RoundOutput, levels_of

METHOD = "mse"
BATCH = 8


def simulate_int8(network: nn.Module, scales: Mapping[str, float]) -> None:
    """Let `network` round its weights and activations from now on, in training and in evaluation.

    Args:
        network: of this package's blocks; its norms are frozen.
        scales: step of each activation by module name, from `choose_scales`.
    """
    freeze_norms(network)
    for layer in network.modules():
        if isinstance(layer, ConvNormAct):
            layer.weight_levels = levels_of(cast(nn.Conv2d, layer[0]))
    for name, module in rounded_modules(network):
        if name in scales:
            module.register_forward_hook(RoundOutput(scales[name]))


def check_rounds(network: nn.Module) -> None:
    """UsageError where convolutions of `network` would stay in float."""
    inside = {id(layer[0]) for layer in network.modules() if isinstance(layer, ConvNormAct)}
    left = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and id(module) not in inside and name != "head"
    ]
    if left:
        seen = f"{len(left)} convolutions would stay in float, {left[0]} the first"
        raise UsageError("int8_from cannot train this network", seen, "Leave it out and take edgeseg quantize --qat")


@torch.no_grad()
def choose_scales(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The step of each activation, in the range that loses least on some pictures.

    Args:
        network: in float; it is put into evaluation mode.
        images: float32 [N, 3, H, W], normalized.

    Returns:
        {module name: step}; the maps around a fused decoder step share one, as in the file. Modules that these pictures
        have no use for (`PadEven` where all sizes are even) are missing.
    """
    network.eval()
    observers: dict[str, MinMax] = {}
    group: dict[str, str] = {}
    made: dict[int, tuple[str, Tensor]] = {}

    def observe(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            observers.setdefault(name, METHODS[METHOD]()).observe(output.numpy())
            made[id(output)] = (name, output)
            if isinstance(module, (UpsampleCropConcat, PadEven)):
                for tensor in inputs:
                    if id(tensor) in made:
                        _join(group, name, made[id(tensor)][0])

        return hook

    handles = [module.register_forward_hook(observe(name)) for name, module in rounded_modules(network)]
    try:
        for batch in torch.split(images, BATCH):
            made.clear()
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    largest = {name: max(abs(value) for value in observer.range()) for name, observer in observers.items()}
    together: dict[str, float] = {}
    for name, value in largest.items():
        together[_find(group, name)] = max(together.get(_find(group, name), 2.0**-24 * LEVELS), value)
    return {name: together[_find(group, name)] / LEVELS for name in largest}


def rounded_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules whose outputs the file holds in int8, in the order of their names in the network."""
    for name, module in network.named_modules():
        acts = isinstance(module, ConvNormAct) and len(module) == 3
        if acts or isinstance(module, (InvertedResidual, UpsampleCropConcat, PadEven)):
            yield name, module


def _find(group: Mapping[str, str], name: str) -> str:
    while name in group:
        name = group[name]
    return name


def _join(group: dict[str, str], one: str, other: str) -> None:
    one, other = _find(group, one), _find(group, other)
    if one != other:
        group[other] = one
