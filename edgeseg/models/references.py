"""Networks that tables compare with: SegNet, FCN-8s and Fast-SCNN. No weights of them ship."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeseg.models.base import SemanticNetwork
from edgeseg.models.blocks import ConvNormAct, InvertedResidual, SeparableConv

# Convolutions of VGG-16's five blocks (Simonyan and Zisserman 2015), all 3x3.
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _convolutions(cin: int, widths: Sequence[int], norm: bool) -> nn.Sequential:
    layers = nn.Sequential()
    for cout in widths:
        layers.append(nn.Conv2d(cin, cout, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(cout))
        layers.append(nn.ReLU(inplace=True))
        cin = cout
    return layers


def _scaled(width: float) -> list[list[int]]:
    return [[max(1, round(channels * width)) for channels in block] for block in VGG16]


def _vgg(blocks: Sequence[Sequence[int]], norm: bool) -> nn.ModuleList:
    """The blocks from the picture's three channels on, without their pooling."""
    entries = [3, *(block[-1] for block in blocks[:-1])]
    return nn.ModuleList(_convolutions(cin, block, norm) for cin, block in zip(entries, blocks, strict=True))


class SegNet(SemanticNetwork):
    """Badrinarayanan et al. 2017: VGG-16's convolutions, and a mirrored decoder that unpools by the encoder's indices.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        width: multiplier of all channels.
    """

    def __init__(self, classes: int = 1, width: float = 1.0) -> None:
        super().__init__(stride=32)
        blocks = _scaled(width)
        self.down = _vgg(blocks, norm=True)
        self.up = nn.ModuleList()
        for index in reversed(range(len(blocks))):
            # Mirrored: a block ends on the channels that the next one unpools; the last convolution is the head.
            following = [blocks[index - 1][-1]] if index else []
            self.up.append(_convolutions(blocks[index][-1], [*blocks[index][1:], *following], True))
        self.head = nn.Conv2d(blocks[0][0], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for block in self.down:
            x = block(x)
            size = x.shape
            x, indices = F.max_pool2d(x, 2, return_indices=True)
            kept.append((indices, size))
        for block in self.up:
            indices, size = kept.pop()
            x = block(F.max_unpool2d(x, indices, [2, 2], output_size=size[-2:]))
        logits: Tensor = self.head(x)
        return logits


class FCN8s(SemanticNetwork):
    """Long et al. 2015: VGG-16 with its classifier as convolutions, and scores of pool3 and pool4 added on the way up.

    The 7x7 convolution is padded by 3 instead of the whole picture by 100, so that no cropping is needed.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        width: multiplier of all channels.
        dropout: behind each layer of the former classifier.
    """

    def __init__(self, classes: int = 1, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__(stride=32)
        blocks = _scaled(width)
        self.down = _vgg(blocks, norm=False)
        wide = max(1, round(4096 * width))
        self.classifier = nn.Sequential(
            nn.Conv2d(blocks[4][-1], wide, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(wide, wide, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.scores = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in (wide, blocks[3][-1], blocks[2][-1]))
        self.up = nn.ModuleList(_bilinear(classes, factor) for factor in (2, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        pooled = []
        for block in self.down:
            x = F.max_pool2d(block(x), 2)
            pooled.append(x)
        maps = [self.classifier(x), pooled[3], pooled[2]]
        total: Tensor | None = None
        for score, features, up in zip(self.scores, maps, self.up, strict=True):
            own = score(features)
            total = up(own if total is None else own + total)
        assert total is not None
        return total


def _bilinear(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear interpolation, each channel for itself."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, bias=False)
    ramp = 1 - (torch.arange(2 * factor) - factor + 0.5).abs() / factor
    layer.weight.data.zero_()
    for channel in range(channels):
        layer.weight.data[channel, channel] = ramp[:, None] * ramp[None, :]
    return layer


class FastSCNN(SemanticNetwork):
    """Poudel et al. 2019: a shallow branch at stride 8 and a deep one at stride 32 with pyramid pooling, added.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        dropout: before the last convolution.
    """

    def __init__(self, classes: int = 1, dropout: float = 0.1) -> None:
        super().__init__(stride=32)
        self.shallow = nn.Sequential(ConvNormAct(3, 32, 3, 2), _separable(32, 48), _separable(48, 64))
        self.deep = nn.Sequential(*_bottlenecks(64, 64, 2), *_bottlenecks(64, 96, 2), *_bottlenecks(96, 128, 1))
        self.pyramid = nn.ModuleList(ConvNormAct(128, 32) for _ in range(4))
        self.gather = ConvNormAct(256, 128)
        self.widen = nn.Sequential(ConvNormAct(128, 128, 3, groups=128, dilation=4), ConvNormAct(128, 128, act=False))
        self.side = ConvNormAct(64, 128, act=False)
        self.mix = nn.Sequential(SeparableConv(128, 128), SeparableConv(128, 128), nn.Dropout(dropout))
        self.head = nn.Conv2d(128, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.shallow(x)
        deep = self.deep(shallow)
        size = deep.shape[-2:]
        parts = [deep]
        for bins, mix in zip((1, 2, 3, 6), self.pyramid, strict=True):
            parts.append(_resized(mix(F.adaptive_avg_pool2d(deep, bins)), size))
        deep = _resized(self.gather(torch.cat(parts, dim=1)), shallow.shape[-2:])
        fused = F.relu(self.widen(deep) + self.side(shallow))
        return _resized(self.head(self.mix(fused)), x.shape[-2:])


def _separable(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(ConvNormAct(cin, cin, 3, 2, groups=cin), ConvNormAct(cin, cout))


def _bottlenecks(cin: int, cout: int, stride: int) -> list[nn.Module]:
    """Three inverted residuals of expansion 6, the first with the stride."""
    return [
        InvertedResidual(cin if k == 0 else cout, 6 * (cin if k == 0 else cout), cout, 3, stride if k == 0 else 1)
        for k in range(3)
    ]


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
