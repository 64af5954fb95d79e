"""Make a narrow encoder compute nearly what a wide one does, before any training: channel pruning by reconstruction.

He et al. 2017 ("Channel Pruning for Accelerating Very Deep Neural Networks") keep the channels from which a layer's
output can be rebuilt best, and refit the weights that read them. Here the channels are the hidden ones of an inverted
residual. They are chosen one by one (orthogonal matching pursuit) and the block's projection is then refitted by least
squares, on the features that the blocks before, already narrow, really deliver: so a block also makes up for the errors
of those before it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from edgeseg.models.blocks import ConvNormAct, InvertedResidual
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0

# Positions of the feature maps that a block is fitted on, drawn at random, so that time and memory are bounded.
POSITIONS = 24_000
# Share of the mean channel energy that is added to the normal equations, against nearly parallel channels.
RIDGE = 1e-4


@torch.no_grad()
def slim_encoder(wide: EfficientNetLite0, narrow: EfficientNetLite0, images: Tensor, seed: int = 0) -> list[float]:
    """Fill `narrow` from `wide`, an encoder of the same stages with at least as many hidden channels and blocks.

    Args:
        wide: a trained encoder.
        narrow: the encoder to fill; fewer blocks in a stage, fewer hidden channels or a narrower stem.
        images: float32 [N, 3, H, W], normalized pictures of the kind that the network will see.
        seed: of the choice of positions.

    Returns:
        For each block of `narrow` the share of the wide features' variance that is lost, 0 to 1.
    """
    wide.eval()
    narrow.eval()
    generator = torch.Generator().manual_seed(seed)
    full, slim, sources = wide.stem(images), None, wide
    lost = []
    if not _blocks(wide, 0) and _width(wide.stem) == _width(narrow.stem):
        narrow.stem.load_state_dict(wide.stem.state_dict())
        slim = full
    elif not _blocks(narrow, 0):
        full, slim, sources = _without_first_stage(wide, narrow, full, generator)
    for source, block, span in _pairs(sources, wide, narrow):
        first = slim is None
        x = full if slim is None else slim
        for inner in span:
            full = inner(full)
        hidden = source.depthwise(x if first else source.expand(x))
        known = 0 if first or not block.residual else x
        keep = _choose(hidden, full - known, _hidden_width(block), generator)
        if first:
            _copy(wide.stem, narrow.stem, keep)
            x = x[:, keep]
        elif isinstance(block.expand, ConvNormAct):
            _copy(cast(ConvNormAct, source.expand), block.expand, keep)
        _copy(source.depthwise, block.depthwise, keep)
        # A narrowed stem may be as wide as its first block's output, which then has a residual of its own.
        weight, bias = _rebuild(hidden[:, keep], full - x if block.residual else full, generator)
        _set_projection(block.project, weight, bias, hidden[:, keep])
        slim = block(x)
        lost.append(float((slim - full).square().mean() / full.var(dim=(0, 2, 3)).mean()))
    return lost


def _without_first_stage(
    wide: EfficientNetLite0, narrow: EfficientNetLite0, stem: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, EfficientNetLite0]:
    """Leave the first stage out: its output is rebuilt from the stem's channels that serve best.

    The rebuilding, a 1x1 convolution, costs nothing: it goes into the weights of the expansion behind it, its constant
    into that layer's norm.

    Returns:
        What the second stage reads in `wide` and in `narrow`, and a copy of `wide` with that expansion.
    """
    full = wide.stages[0](stem)
    keep = _choose(stem, full, _width(narrow.stem), generator)
    _copy(wide.stem, narrow.stem, keep)
    weight, bias = _rebuild(stem[:, keep], full, generator)
    sources = copy.deepcopy(wide)
    expand = cast(ConvNormAct, _blocks(sources, 1)[0].expand)
    convolution, norm = cast(nn.Conv2d, expand[0]), cast(nn.BatchNorm2d, expand[1])
    old = convolution.weight[:, :, 0, 0].clone()
    cast(Tensor, norm.running_mean).sub_(old @ bias)
    convolution.weight = nn.Parameter((old @ weight)[:, :, None, None])
    return full, stem[:, keep], sources


def is_wider(wide: EfficientNetLite0, narrow: EfficientNetLite0) -> bool:
    """Whether `slim_encoder` can fill `narrow` from `wide`: no fewer stages, blocks or channels anywhere."""
    if wide.patch != narrow.patch or len(wide.stages) < len(narrow.stages) or _width(wide.stem) < _width(narrow.stem):
        return False
    for stage in range(len(narrow.stages)):
        have, want = ([_hidden_width(block) for block in _blocks(encoder, stage)] for encoder in (wide, narrow))
        if len(have) < len(want) or any(a < b for a, b in zip(have, want, strict=False)):
            return False
    return True


def _pairs(
    sources: EfficientNetLite0, wide: EfficientNetLite0, narrow: EfficientNetLite0
) -> Iterator[tuple[InvertedResidual, InvertedResidual, list[InvertedResidual]]]:
    """Each narrow block, the block of `sources` that it is cut from, and the wide ones whose work it takes over."""
    for stage in range(len(narrow.stages)):
        cut, have, keep = (_blocks(encoder, stage) for encoder in (sources, wide, narrow))
        for index, block in enumerate(keep):
            yield cut[index], block, have[index:] if index == len(keep) - 1 else [have[index]]


def _blocks(encoder: EfficientNetLite0, stage: int) -> list[InvertedResidual]:
    return [cast(InvertedResidual, block) for block in encoder.stages[stage].children()]


def _hidden_width(block: InvertedResidual) -> int:
    return _width(block.depthwise)


def _width(layer: ConvNormAct) -> int:
    return cast(nn.Conv2d, layer[0]).out_channels


def _choose(hidden: Tensor, wanted: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The channels of `hidden` from which `wanted` can be rebuilt best."""
    gram, cross, *_ = _normal_equations(hidden, wanted, generator)
    return _pursue(gram, cross, count)


def _rebuild(hidden: Tensor, wanted: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight [O, C] and bias [O] of the 1x1 convolution that comes nearest to `wanted`."""
    gram, cross, center, middle = _normal_equations(hidden, wanted, generator)
    weight = torch.linalg.solve(gram, cross).T
    return weight.float(), (middle - weight @ center).float()


def _normal_equations(
    hidden: Tensor, wanted: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    features, targets = (each.permute(0, 2, 3, 1).flatten(0, 2) for each in (hidden, wanted))
    chosen = torch.randperm(len(features), generator=generator)[:POSITIONS]
    features, targets = features[chosen].double(), targets[chosen].double()
    center, middle = features.mean(0), targets.mean(0)
    features, targets = features - center, targets - middle
    gram, cross = features.T @ features, features.T @ targets
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    return gram, cross, center, middle


def _pursue(gram: Tensor, cross: Tensor, count: int) -> Tensor:
    """The `count` channels that explain most, each chosen beside those before it."""
    if count >= len(gram):
        return torch.arange(len(gram))
    gram, cross = gram.clone(), cross.clone()
    floor = 1e-9 * gram.diagonal().max()
    free = torch.ones(len(gram), dtype=torch.bool)
    for _ in range(count):
        energy = gram.diagonal()
        gain = cross.square().sum(1) / energy.clamp(min=floor)
        best = int(torch.where(free & (energy > floor), gain, -1.0).argmax())
        free[best] = False
        column = gram[:, best] / gram[best, best]
        cross = cross - column[:, None] * cross[best]
        gram = gram - column[:, None] * gram[best]
    return (~free).nonzero().flatten()


def _copy(source: ConvNormAct, target: ConvNormAct, rows: Tensor) -> None:
    """Output channels `rows` of a layer whose input stays (expansion, stem) or follows its output (depthwise)."""
    convolution, norm = cast(nn.Conv2d, target[0]), cast(nn.BatchNorm2d, target[1])
    convolution.weight.copy_(cast(nn.Conv2d, source[0]).weight[rows])
    state = cast(nn.BatchNorm2d, source[1]).state_dict()
    norm.load_state_dict({key: value[rows] if value.ndim else value for key, value in state.items()})


def _set_projection(layer: ConvNormAct, weight: Tensor, bias: Tensor, hidden: Tensor) -> None:
    """Weight and bias as a convolution and a batch norm whose statistics fit, so that training goes on smoothly."""
    convolution, norm = cast(nn.Conv2d, layer[0]), cast(nn.BatchNorm2d, layer[1])
    convolution.weight.copy_(weight[:, :, None, None])
    plain = convolution(hidden)
    mean, variance = plain.mean(dim=(0, 2, 3)), plain.var(dim=(0, 2, 3), unbiased=False)
    norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    norm.running_var.copy_(variance)  # type: ignore[union-attr]
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean + bias)
