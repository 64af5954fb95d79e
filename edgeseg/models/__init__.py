"""Networks, by name. A plain table: each entry builds an `nn.Module` from keyword arguments.

Every semantic network maps float32 [N, 3, H, W] (RGB, `(x - mean) / std` on the 0..255 scale) to logits
[N, C, H, W], C = 1 (the foreground) for two classes, and says its `mean`, `std` and `stride`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError, nearest

if TYPE_CHECKING:
    from edgeseg.models.unet_lite import UNetLite


def _unet_lite(**arguments: Any) -> UNetLite:
    from edgeseg.models.unet_lite import UNetLite

    return UNetLite(**arguments)


REGISTRY: Mapping[str, Callable[..., UNetLite]] = {"unet_lite": _unet_lite}


def build(name: str, **arguments: Any) -> UNetLite:
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
