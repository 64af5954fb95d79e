"""Layers that the networks share: convolution + norm + ReLU6, inverted residual, depthwise separable convolution."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# EfficientNet-Lite's batch norm (TensorFlow's default), not PyTorch's 1e-5.
NORM_EPS = 1e-3


def scaled(channels: int, width: float) -> int:
    """`channels` times `width` to the nearest multiple of 8, the upper one of two, at least 8."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch norm and, unless `act` is false, ReLU6.

    A stride of 2 pads as TensorFlow's "SAME" does on even inputs: less before than after, as the weights want it. A
    kernel as large as its stride cuts the map into patches and pads nothing.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
        dilation: int = 1,
    ) -> None:
        patches = kernel == stride > 1
        padding = 0 if stride == 2 or patches else dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False),
            nn.BatchNorm2d(cout, eps=NORM_EPS),
        )
        if act:
            self.append(nn.ReLU6())
        before, after = (kernel - 1) // 2 - (1 if stride == 2 else 0), (kernel - 1) // 2
        before = max(0, before)
        self.same = (before, after, before, after) if stride == 2 and not patches else None
        self.frozen = False
        # In a frozen layer: levels either way to which the folded weights are rounded, 0 for none.
        self.weight_levels = 0

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.same) if self.same else x
        if self.frozen:
            return self._folded(x)
        for layer in self:
            x = layer(x)
        return x

    def _folded(self, x: Tensor) -> Tensor:
        """Convolution and norm in one, the norm by its kept statistics; gradients reach the weights of both."""
        convolution, norm = cast(nn.Conv2d, self[0]), cast(nn.BatchNorm2d, self[1])
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight = convolution.weight * scale[:, None, None, None]
        if self.weight_levels:
            weight = round_weight(weight, self.weight_levels)
        y = F.conv2d(
            x,
            weight,
            norm.bias - mean * scale,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )
        # A convolution's gradient does not need its output, so the map may be overwritten.
        return F.relu6(y, inplace=True) if len(self) == 3 else y


def round_weight(weight: Tensor, levels: int) -> Tensor:
    """Weights [O, I, kh, kw] on `levels` steps either way, one scale an output channel; gradients pass unrounded."""
    scale = (weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / levels).clamp(min=2.0**-24)
    return weight + (torch.round(weight / scale) * scale - weight).detach()


def freeze_norms(network: nn.Module) -> None:
    """Let every `ConvNormAct` normalize by the statistics it holds, in training too.

    Scale and shift go on learning, inside the convolution. For networks whose statistics are good already, in a run's
    later part.
    """
    for layer in network.modules():
        if isinstance(layer, ConvNormAct):
            layer.frozen = True


def hold_norms(network: nn.Module) -> None:
    """Keep the statistics of batch norms outside of `ConvNormAct`, those of torchvision's encoders, in this step."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise kxk, project 1x1 (MobileNetV2, Sandler et al. 2018); residual where the shapes allow.

    Without `expand` the input is the hidden map, as in EfficientNet's first block; `hidden` must then be `cin`.
    """

    def __init__(self, cin: int, hidden: int, cout: int, kernel: int, stride: int, expand: bool = True) -> None:
        super().__init__()
        self.expand = ConvNormAct(cin, hidden) if expand else nn.Identity()
        self.depthwise = ConvNormAct(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNormAct(hidden, cout, act=False)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 (dilated: atrous) and pointwise convolution, each with batch norm and ReLU6."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__(ConvNormAct(cin, cin, kernel, groups=cin, dilation=dilation), ConvNormAct(cin, cout))
