"""Layers with frozen norms compute, and learn by, what torch's own convolution and batch norm do in evaluation mode."""

from __future__ import annotations

import copy

import pytest
import torch

from edgeseg.models.blocks import ConvNormAct, InvertedResidual, freeze_norms


@pytest.mark.parametrize("stride", [1, 2])
def test_frozen_norms_equal_evaluation(stride: int) -> None:
    torch.manual_seed(0)
    block = InvertedResidual(8, 16, 8, 5, stride)
    for layer in block.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert values is not None
                torch.nn.init.uniform_(values, 0.2, 1.5)
    frozen, reference = copy.deepcopy(block).train(), block.eval()
    freeze_norms(frozen)
    x, direction = torch.randn(2, 8, 16, 16), torch.randn(2, 8, 16 // stride, 16 // stride)
    torch.testing.assert_close(frozen(x), reference(x))
    (frozen(x) * direction).sum().backward()
    (reference(x) * direction).sum().backward()
    for mine, theirs in zip(frozen.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4)


def test_frozen_norms_ignore_the_batch() -> None:
    layer = ConvNormAct(3, 4).train()
    freeze_norms(layer)
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]))
    assert int(layer[1].num_batches_tracked) == 0  # type: ignore[arg-type]
