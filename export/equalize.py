"""Equalize the channels of a network's linear maps before it is quantized; in float nothing changes.

int8 has one step for a whole map, so a channel with small values gets few levels. Where nothing but linear layers lies
between two convolutions, the first one's channel may be scaled up and the second one's weights for it down (cross-layer
equalization: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"; here by the
ranges of activations). Such are the outputs of inverted residuals: a stage's blocks add to one stream, which the next
stage and a decoder step read.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.blocks import ConvNormAct, InvertedResidual
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0
from edgeseg.models.unet_lite import DecoderStep, UNetLite

BATCH = 8
# Of a channel's largest values, one a picture: this share of the pictures stays below what counts as its range.
QUANTILE = 0.9


@torch.no_grad()
def equalize(network: nn.Module, images: Tensor) -> list[float]:
    """Rescale the streams of a `unet_lite` on EfficientNet-Lite0 in place, so that all channels have the same range.

    Args:
        network: in evaluation mode.
        images: float32 [N, 3, H, W], normalized pictures of the kind that it is calibrated on.

    Returns:
        Largest range of a channel over the smallest, for each stage that has blocks, as it was.

    Raises:
        UsageError: another network.
    """
    if not isinstance(network, UNetLite) or not isinstance(network.encoder, EfficientNetLite0):
        raise UsageError(
            "only unet_lite on efficientnet_lite0 can be equalized", type(network).__name__, "Leave it out"
        )
    spreads = []
    for stage, ranges in _ranges(network, images).items():
        factor = ranges / ranges.log().mean().exp()
        blocks = _blocks(network, stage)
        for block in blocks:
            norm = cast(nn.BatchNorm2d, block.project[1])
            norm.weight.div_(factor)
            norm.bias.div_(factor)
        readers = [cast(ConvNormAct, block.expand) for block in blocks[1:]]
        for layer in (*readers, *_readers(network, stage)):
            weight = cast(nn.Conv2d, layer[0]).weight
            # A depthwise convolution after the fused step has the skip's channels first, as its outputs.
            if weight.shape[1] == 1:
                weight[: len(factor)] *= factor[:, None, None, None]
            else:
                weight *= factor[None, :, None, None]
        spreads.append(float(ranges.max() / ranges.min()))
    return spreads


def _ranges(network: UNetLite, images: Tensor) -> dict[int, Tensor]:
    """The range of each channel of each stage's stream."""
    seen: dict[tuple[int, int], list[Tensor]] = {}
    handles = []
    for stage in range(len(network.encoder.stages)):  # type: ignore[arg-type]
        for index, block in enumerate(_blocks(network, stage)):
            values = seen.setdefault((stage, index), [])
            handles.append(
                block.register_forward_hook(lambda m, i, out, values=values: values.append(out.abs().amax(dim=(2, 3))))
            )
    try:
        for batch in torch.split(images, BATCH):
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    largest: dict[int, Tensor] = {}
    for (stage, _), values in seen.items():
        here = torch.cat(values).quantile(QUANTILE, dim=0).clamp(min=1e-6)
        largest[stage] = torch.maximum(largest.get(stage, here), here)
    return largest


def _readers(network: UNetLite, stage: int) -> list[ConvNormAct]:
    """The layers outside a stage that read its stream."""
    encoder = cast(EfficientNetLite0, network.encoder)
    steps = [cast(DecoderStep, step) for step in network.steps]
    if stage + 1 == len(encoder.stages):
        return [steps[0].narrow]
    found = [cast(ConvNormAct, _blocks(network, stage + 1)[0].expand)]
    if stage in encoder.taps:
        # Deepest skip first; the last tap is what the decoder starts from.
        place = len(encoder.taps) - 2 - encoder.taps.index(stage)
        found += [cast(ConvNormAct, step.mix[0]) for step in steps[place : place + 1]]
    return found


def _blocks(network: UNetLite, stage: int) -> list[InvertedResidual]:
    encoder = cast(EfficientNetLite0, network.encoder)
    return [cast(InvertedResidual, block) for block in encoder.stages[stage].children()]
