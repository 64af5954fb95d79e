"""Equalization: the same network in float, with channels of one range, and less lost in int8."""

from __future__ import annotations

import copy

import pytest
import torch
from export_helpers import lively
from torch import Tensor

from edgeseg.errors import UsageError
from edgeseg.export.equalize import equalize
from edgeseg.models import build
from edgeseg.models.blocks import InvertedResidual

SMALL = {"ratio": [0.2] * 6, "stem": 8}


@pytest.mark.parametrize(
    ("blocks", "decoder"),
    [([1, 2, 1, 2, 2], [16, 8, 8]), ([0, 2, 1, 1, 2, 2], [16, 8]), ([1, 1, 1, 1, 1, 1], [16, 8, 8, 8])],
)
def test_it_computes_the_same_with_channels_of_one_range(blocks: list[int], decoder: list[int]) -> None:
    network = lively(build("unet_lite", blocks=blocks, decoder=decoder, **SMALL))
    x = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(x)
    spreads = equalize(network, x)
    assert len(spreads) == sum(count > 0 for count in blocks)
    assert min(spreads) > 1.5
    with torch.no_grad():
        after = network(x)
    assert float((after - before).abs().max()) < 1e-3 * float(before.abs().max())
    assert max(equalize(network, x)) < 1.01


def test_coarse_levels_lose_less_afterwards() -> None:
    network = lively(build("unet_lite", blocks=[1, 2, 1, 2, 2], decoder=[16, 8, 8], **SMALL))
    x = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Channels as far apart as training may leave them.
        for block in network.modules():
            if isinstance(block, InvertedResidual) and not block.residual:
                block.project[1].weight *= torch.logspace(-1, 1, len(block.project[1].weight))
        exact = network(x)

    def error(model: torch.nn.Module) -> float:
        model = copy.deepcopy(model)
        for block in model.modules():
            if isinstance(block, InvertedResidual):
                block.register_forward_hook(lambda m, i, out: rounded(out))
        with torch.no_grad():
            return float((model(x) - exact).square().mean())

    before = error(network)
    equalize(network, x)
    assert error(network) < 0.5 * before


def rounded(x: Tensor, levels: int = 15) -> Tensor:
    step = float(x.abs().max()) / levels
    return torch.round(x / step) * step


def test_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="can be equalized"):
        equalize(build("unet_lite", encoder="mobilenet_v2"), torch.zeros(1, 3, 64, 64))
