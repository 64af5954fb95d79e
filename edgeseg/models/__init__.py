"""Networks, by name. Plain tables: each entry builds a network from keyword arguments.

Every semantic network maps float32 [N, 3, H, W] (RGB, `(x - mean) / std` on the 0..255 scale) to logits
[N, C, H, W], C = 1 (the foreground) for two classes, and says its `mean`, `std` and `stride`. The classic `unet` alone
gives the middle of the picture only, and `unet_video` takes a fourth channel. Instance networks, `build_instance`,
answer with boxes, labels, scores and masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError, nearest
from edgeseg.models.encoders import ENCODERS

if TYPE_CHECKING:
    from edgeseg.models.base import Network, SemanticNetwork


def _unet_lite(**arguments: Any) -> SemanticNetwork:
    from edgeseg.models.unet_lite import UNetLite

    return UNetLite(**arguments)


def _unet_video(**arguments: Any) -> SemanticNetwork:
    from edgeseg.models.unet_video import UNetVideo

    return UNetVideo(**arguments)


def _deeplabv3plus(**arguments: Any) -> SemanticNetwork:
    from edgeseg.models.deeplab import DeepLabV3Plus

    return DeepLabV3Plus(**arguments)


def _unet(**arguments: Any) -> SemanticNetwork:
    from edgeseg.models.unet import UNet

    return UNet(**arguments)


def _reference(kind: str, **arguments: Any) -> SemanticNetwork:
    from edgeseg.models import references

    network: SemanticNetwork = getattr(references, kind)(**arguments)
    return network


REGISTRY: Mapping[str, Callable[..., SemanticNetwork]] = {
    "unet_lite": _unet_lite,
    "unet_video": _unet_video,
    "unet": _unet,
    "segnet": partial(_reference, "SegNet"),
    "fcn8s": partial(_reference, "FCN8s"),
    "fastscnn": partial(_reference, "FastSCNN"),
    **{f"deeplabv3plus_{encoder}": partial(_deeplabv3plus, encoder=encoder) for encoder in ENCODERS},
}


def _mask_rcnn(**arguments: Any) -> Network:
    from edgeseg.models.maskrcnn import MaskRCNN

    return MaskRCNN(**arguments)


INSTANCE_REGISTRY: Mapping[str, Callable[..., Network]] = {
    f"maskrcnn_{encoder}": partial(_mask_rcnn, encoder=encoder) for encoder in ENCODERS
}


def build(name: str, **arguments: Any) -> SemanticNetwork:
    """The network `name`, built with `arguments`, its weights fresh.

    Raises:
        UsageError: an unknown name, or an argument that the network does not take.
    """
    network: SemanticNetwork = _built(REGISTRY, name, arguments)
    return network


def build_instance(name: str, **arguments: Any) -> Network:
    """The instance network `name`; see `build`."""
    network: Network = _built(INSTANCE_REGISTRY, name, arguments)
    return network


def _built(registry: Mapping[str, Callable[..., Any]], name: str, arguments: Mapping[str, Any]) -> Any:
    if name not in registry:
        raise UsageError("unknown network", name, nearest(name, registry))
    try:
        return registry[name](**arguments)
    except TypeError as error:
        raise UsageError(f"the network {name} cannot be built", error, "Look at its arguments in the recipe") from None
