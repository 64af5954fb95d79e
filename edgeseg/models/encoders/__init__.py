"""Encoders, by name. A plain table: each entry builds an `Encoder` from keyword arguments.

An encoder maps float32 [N, 3, H, W] to its feature maps, the largest first, and says their `channels` and `strides`,
and the `mean` and `std` (RGB, 0..255 scale) that its weights want. Below `output_stride` no map gets smaller:
convolutions are dilated instead (DeepLab, Chen et al. 2017), so that weights trained without dilation still fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError, nearest

if TYPE_CHECKING:
    from edgeseg.models.encoders.base import Encoder


def _efficientnet_lite0(**arguments: Any) -> Encoder:
    from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0

    return EfficientNetLite0(**arguments)


def _small(**arguments: Any) -> Encoder:
    from edgeseg.models.encoders.small import SmallEncoder

    return SmallEncoder(**arguments)


def _torchvision(name: str) -> Callable[..., Encoder]:
    def make(**arguments: Any) -> Encoder:
        from edgeseg.models.encoders.from_torchvision import MobileNet, ResNet18

        return ResNet18(**arguments) if name == "resnet18" else MobileNet(name, **arguments)

    return make


ENCODERS: Mapping[str, Callable[..., Encoder]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "mobilenet_v3_large": _torchvision("mobilenet_v3_large"),
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small"),
    "resnet18": _torchvision("resnet18"),
    "small": _small,
}
# Those that take `multiplier`, of all their channels.
SCALABLE = frozenset({"mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "small"})


def build_encoder(
    name: str, output_stride: int = 32, pretrained: Path | str | None = None, **arguments: Any
) -> Encoder:
    """The encoder `name`.

    Args:
        name: a key of `ENCODERS`.
        output_stride: input size / size of the last feature map: 8, 16 or 32.
        pretrained: a checkpoint: torchvision's ImageNet file of the same network, that of EfficientNet-Lite0, or the
            state_dict of another `small` one.
        arguments: what the encoder itself takes.

    Raises:
        UsageError: an unknown name, another output stride, or an argument that the encoder does not take.
        InputError: the checkpoint cannot be read, or belongs to another network.
    """
    from edgeseg.models.encoders.base import dilate

    if name not in ENCODERS:
        raise UsageError("unknown encoder", name, nearest(name, ENCODERS))
    if output_stride not in (8, 16, 32):
        raise UsageError("bad output stride", output_stride, "Use 8, 16 or 32")
    try:
        encoder = ENCODERS[name](**arguments)
    except TypeError as error:
        raise UsageError(f"the encoder {name} cannot be built", error, "Look at its arguments") from None
    if pretrained is not None:
        encoder.load(Path(pretrained))
    dilate(encoder, output_stride)
    return encoder
