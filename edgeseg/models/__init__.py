"""Networks, by name. A plain table: each entry builds a `SemanticNetwork` from keyword arguments.

Every semantic network maps float32 [N, 3, H, W] (RGB, `(x - mean) / std` on the 0..255 scale) to logits
[N, C, H, W], C = 1 (the foreground) for two classes, and says its `mean`, `std` and `stride`. The classic `unet` alone
gives the middle of the picture only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError, nearest
from edgeseg.models.encoders import ENCODERS

if TYPE_CHECKING:
    from edgeseg.models.base import SemanticNetwork


def _unet_lite(**arguments: Any) -> SemanticNetwork:
    from edgeseg.models.unet_lite import UNetLite

    return UNetLite(**arguments)


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
    "unet": _unet,
    "segnet": partial(_reference, "SegNet"),
    "fcn8s": partial(_reference, "FCN8s"),
    "fastscnn": partial(_reference, "FastSCNN"),
    **{f"deeplabv3plus_{encoder}": partial(_deeplabv3plus, encoder=encoder) for encoder in ENCODERS},
}


def build(name: str, **arguments: Any) -> SemanticNetwork:
    """The network `name`, built with `arguments`, its weights fresh.

    Raises:
        UsageError: an unknown name, or an argument that the network does not take.
    """
    if name not in REGISTRY:
        raise UsageError("unknown network", name, nearest(name, REGISTRY))
    try:
        return REGISTRY[name](**arguments)
    except TypeError as error:
        raise UsageError(f"the network {name} cannot be built", error, "Look at its arguments in the recipe") from None
