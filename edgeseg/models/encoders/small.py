"""`small`: an encoder of our own, for small sets that are learned from nothing and for the weakest devices.

Depthwise separable convolutions as in MobileNetV1 (Howard et al. 2017), few of them, and residuals where the shapes
allow. There are no ImageNet weights for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.blocks import ConvNormAct, scaled
from edgeseg.models.encoders.base import MEAN, STD, Encoder, not_a_checkpoint, read_state

STEM = 16
# (blocks, output channels) of the stages behind the stem, each at half the size of the one before.
STAGES = ((1, 32), (2, 64), (3, 128), (2, 256))


class SeparableBlock(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU6; residual where the shapes allow."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(cin, cin, 3, stride, groups=cin)
        self.pointwise = ConvNormAct(cin, cout)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x))
        return x + y if self.residual else y


class SmallEncoder(Encoder):
    """Maps at strides 2, 4, 8, 16 and 32, of 16, 32, 64, 128 and 256 channels; 0.16 million parameters.

    Args:
        multiplier: of all channels, which are rounded to multiples of 8.
    """

    mean, std = MEAN, STD
    strides = (2, 4, 8, 16, 32)

    def __init__(self, multiplier: float = 1.0) -> None:
        super().__init__()
        if multiplier <= 0:
            raise UsageError("bad encoder multiplier", multiplier, "Give a number above 0, such as 0.5")
        widths = [scaled(channels, multiplier) for channels in (STEM, *(channels for _, channels in STAGES))]
        self.stem = ConvNormAct(3, widths[0], 3, stride=2)
        self.stages = nn.ModuleList()
        for (blocks, _), cin, cout in zip(STAGES, widths, widths[1:], strict=False):
            steps = [(cin, 2), *((cout, 1) for _ in range(blocks - 1))]
            self.stages.append(nn.Sequential(*(SeparableBlock(width, cout, stride) for width, stride in steps)))
        self.channels = tuple(widths)

    def parts(self) -> Sequence[tuple[nn.Module, int, bool]]:
        return [(self.stem, 2, True), *((stage, 2, True) for stage in self.stages)]

    def load(self, path: Path) -> None:
        """Take the weights of another encoder of this kind, its `state_dict`."""
        try:
            self.load_state_dict(dict(read_state(path, "the small encoder")))
        except RuntimeError as error:
            raise not_a_checkpoint(path, "the small encoder", str(error).splitlines()[-1].strip()) from None
