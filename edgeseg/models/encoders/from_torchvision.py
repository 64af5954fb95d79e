"""MobileNetV2, MobileNetV3 and ResNet-18: torchvision's networks without their classifier, under its names.

So torchvision's checkpoints load unchanged. Stages end where the next block halves the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from edgeseg.models.encoders.base import MEAN, STD, Encoder, not_a_checkpoint, read_state


class _FromTorchvision(Encoder):
    mean, std = MEAN, STD
    title: str

    def load(self, path: Path) -> None:
        state = read_state(path, self.title)
        wanted = self.state_dict()
        missing = next((key for key in wanted if key not in state), None)
        if missing is not None:
            raise not_a_checkpoint(path, self.title, f"no {missing}")
        try:
            self.load_state_dict({key: state[key] for key in wanted})
        except RuntimeError as error:
            raise not_a_checkpoint(path, self.title, str(error).splitlines()[-1].strip()) from None


class MobileNet(_FromTorchvision):
    """MobileNetV2 (Sandler et al. 2018) or V3 (Howard et al. 2019) without the last 1x1 convolution.

    Args:
        name: "mobilenet_v2", "mobilenet_v3_large" or "mobilenet_v3_small".
        multiplier: of all channels.
    """

    def __init__(self, name: str, multiplier: float = 1.0) -> None:
        super().__init__()
        import torchvision

        self.title = name
        options = {"width_mult": multiplier, "weights": None}
        self.features = cast(nn.Sequential, getattr(torchvision.models, name)(**options).features[:-1])
        self._parts = _blocks(self.features)
        self.channels = tuple(_out_channels(block) for block, _, tapped in self._parts if tapped)
        self.strides = tuple(2 ** (k + 1) for k in range(len(self.channels)))

    def parts(self) -> Sequence[tuple[nn.Module, int, bool]]:
        return self._parts


class ResNet18(_FromTorchvision):
    """He et al. 2016."""

    title = "resnet18"
    channels = (64, 64, 128, 256, 512)
    strides = (2, 4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        import torchvision

        network: Any = torchvision.models.resnet18(weights=None)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(network, name))

    def parts(self) -> Sequence[tuple[nn.Module, int, bool]]:
        child = self.get_submodule
        return [
            (child("conv1"), 2, False),
            (child("bn1"), 1, False),
            (child("relu"), 1, True),
            (child("maxpool"), 2, False),
            (child("layer1"), 1, True),
            (child("layer2"), 2, True),
            (child("layer3"), 2, True),
            (child("layer4"), 2, True),
        ]


def _blocks(features: nn.Sequential) -> list[tuple[nn.Module, int, bool]]:
    """Each block; a feature map is what the last block before the next halving gives."""
    blocks = list(features.children())
    shrinks = [2 if _halves(block) else 1 for block in blocks]
    taps = [following == 2 for following in shrinks[1:]] + [True]
    return list(zip(blocks, shrinks, taps, strict=True))


def _halves(block: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) for layer in block.modules())


def _out_channels(block: nn.Module) -> int:
    # Squeeze-and-excitation stands before the projection, so the last convolution gives the block's output.
    return [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)][-1].out_channels
