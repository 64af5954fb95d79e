"""`deeplabv3plus_*`: atrous spatial pyramid pooling and one decoder step (Chen et al. 2018), depthwise separable."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.base import EncodedNetwork
from edgeseg.models.blocks import ConvNormAct, SeparableConv
from edgeseg.models.encoders import build_encoder
from edgeseg.models.ops import UpsampleCropConcat

# Dilations at output stride 16; at 8 they are doubled, at 32 halved, so that they reach equally far in the picture.
RATES = (6, 12, 18)


class ImagePooling(nn.Module):
    """The mean of the whole map, mixed by a 1x1 convolution and spread over the map again."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.mix = ConvNormAct(cin, cout)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.mix(x.mean(dim=(2, 3), keepdim=True))
        return pooled.expand(-1, -1, x.shape[2], x.shape[3])


class ASPP(nn.Module):
    """A 1x1 convolution, three atrous ones and image pooling side by side, then one 1x1 convolution over all.

    Args:
        cin: channels of the encoder's last map.
        width: channels of each branch and of the result.
        rates: dilations of the atrous branches.
        dropout: share of the result that is dropped in training.
    """

    def __init__(self, cin: int, width: int, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        atrous = [SeparableConv(cin, width, dilation=rate) for rate in rates]
        self.branches = nn.ModuleList([ConvNormAct(cin, width), *atrous, ImagePooling(cin, width)])
        self.project = ConvNormAct(len(self.branches) * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.dropout(self.project(torch.cat([branch(x) for branch in self.branches], dim=1)))
        return mixed


class DeepLabV3Plus(EncodedNetwork):
    """Encoder, ASPP, and a decoder that joins the encoder's stride-4 map.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        encoder: its name, see `edgeseg.models.encoders`.
        output_stride: input size / size of the encoder's last map: 8, 16 or 32.
        width: channels of ASPP and decoder; 256 in the paper.
        skip: channels that the stride-4 map is projected to.
        dropout: share of ASPP's result that is dropped in training.
        options: what the encoder takes.
    """

    def __init__(
        self,
        classes: int = 1,
        encoder: str = "efficientnet_lite0",
        output_stride: int = 16,
        width: int = 256,
        skip: int = 48,
        dropout: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(build_encoder(encoder, output_stride, **options))
        if 4 not in self.encoder.strides:
            raise UsageError("the encoder has no map at stride 4", encoder, "Take another encoder")
        self.skip_index = self.encoder.strides.index(4)
        rates = tuple(rate * 16 // output_stride for rate in RATES)
        self.aspp = ASPP(self.encoder.channels[-1], width, rates, dropout)
        self.narrow = ConvNormAct(self.encoder.channels[self.skip_index], skip)
        self.fuse = UpsampleCropConcat(scale=output_stride // 4)
        self.mix = nn.Sequential(SeparableConv(skip + width, width), SeparableConv(width, width))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        joined = self.fuse(self.aspp(features[-1]), self.narrow(features[self.skip_index]))
        logits = self.head(self.mix(joined))
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
