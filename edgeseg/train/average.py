"""Exponential moving average of a network's weights and norm statistics."""

from __future__ import annotations

import copy

import torch
from torch import nn

from edgeseg.models.base import Network


class WeightAverage:
    """Keeps `average <- decay * average + (1 - decay) * weights`, with a smaller decay while young.

    Norm statistics are averaged too, so that they belong to the averaged weights.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, theirs = self.network.state_dict(), network.state_dict()
        floats = [key for key, value in mine.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([mine[key] for key in floats], [theirs[key] for key in floats], 1.0 - decay)
        for key in mine.keys() - set(floats):
            mine[key].copy_(theirs[key])
