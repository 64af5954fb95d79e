"""`unet_lite`: a depthwise separable U-Net decoder for CPUs and edge devices, on a light encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.base import EncodedNetwork
from edgeseg.models.blocks import ConvNormAct, SeparableConv, scaled
from edgeseg.models.encoders import SCALABLE, build_encoder
from edgeseg.models.encoders.base import PadEven
from edgeseg.models.ops import UpsampleCropConcat
from edgeseg.models.sizes import surely

# The seventh stage of EfficientNet-Lite0 only widens, for its classifier.
DEFAULTS = {"efficientnet_lite0": {"blocks": (1, 2, 2, 3, 3, 3)}}
MODES = ("bilinear", "nearest")


class DecoderStep(nn.Module):
    """Narrow the deep map, fuse it with the skip at twice the size, mix both with a separable convolution."""

    def __init__(self, deep: int, skip: int, width: int, upsample: str) -> None:
        super().__init__()
        self.narrow = ConvNormAct(deep, width)
        self.fuse = UpsampleCropConcat(scale=2, mode=upsample)
        self.mix = SeparableConv(skip + width, width)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        mixed: Tensor = self.mix(self.fuse(self.narrow(deep), skip))
        return mixed


class UNetLite(EncodedNetwork):
    """U-Net decoder, depthwise separable.

    The way from the last decoder step to full size is a sub-pixel convolution (Shi et al. 2016): at stride 4, sixteen
    logits a pixel, shuffled into a 4x4 block. It is cheaper than a bilinear resize of the logits and draws finer
    borders. A further decoder step, at stride 2, would work on the largest maps of the network.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        decoder: widths of the decoder steps, deepest first; fewer than the encoder has feature maps.
        encoder: its name, see `edgeseg.models.encoders`.
        upsample: "bilinear" or "nearest", of the decoder steps. Nearest only moves values, so that int8 stays int8
            without rounding again; the depthwise convolution behind it smooths its blocks.
        width: multiplier of the decoder's widths, rounded to multiples of 8 unless it is 1, and of the encoder's
            channels where that takes a `multiplier` (MobileNets and `small`) and none is given.
        options: what the encoder takes.
    """

    def __init__(
        self,
        classes: int = 1,
        decoder: Sequence[int] = (48, 32, 24),
        encoder: str = "efficientnet_lite0",
        upsample: str = "bilinear",
        width: float = 1.0,
        **options: Any,
    ) -> None:
        if width <= 0:
            raise UsageError("bad width multiplier", width, "Give a number above 0, such as 0.5")
        if width != 1:
            decoder = [scaled(channels, width) for channels in decoder]
            options = ({"multiplier": width} if encoder in SCALABLE else {}) | options
        super().__init__(build_encoder(encoder, **(DEFAULTS.get(encoder, {}) | options)))
        strides = self.encoder.strides
        if any(deep != 2 * skip for skip, deep in zip(strides, strides[1:], strict=False)):
            todo = "Leave output_stride out, or take deeplabv3plus_*"
            raise UsageError("unet_lite needs feature maps that halve", f"strides {list(strides)}", todo)
        # The map that is halved last may be one of odd size: 144 rows then need no padding to 160.
        self.encoder.even = PadEven()
        self.stride = strides[-1] // 2
        channels = self.encoder.channels
        if not 1 <= len(decoder) < len(channels):
            raise UsageError("bad decoder widths", list(decoder), f"Give 1 to {len(channels) - 1} of them")
        if upsample not in MODES:
            raise UsageError("unknown upsampling", upsample, f"Give one of {', '.join(MODES)}")
        self.steps = nn.ModuleList()
        deep = channels[-1]
        for skip, narrow in zip(channels[-2::-1], decoder, strict=False):
            self.steps.append(DecoderStep(deep, skip, narrow, upsample))
            deep = narrow
        self.enlarge = strides[-1 - len(decoder)]
        self.head = nn.Conv2d(deep, self.enlarge**2 * classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        deep = features[-1]
        for step, skip in zip(self.steps, features[-2::-1], strict=False):
            height, width = skip.shape[2] // 2, skip.shape[3] // 2
            if not (surely(deep.shape[2] == height) and surely(deep.shape[3] == width)):
                deep = deep.narrow(2, 0, height).narrow(3, 0, width)
            deep = step(deep, skip)
        return F.pixel_shuffle(self.head(deep), self.enlarge)
