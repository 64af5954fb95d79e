"""`unet_video`: `unet_lite` that sees its own last answer as a fourth channel, for masks that hold still in a video.

Bazarevsky and Tkachenka 2018, "Mobile Real-time Video Segmentation" (Google's research blog), feed a network the mask
of the frame before beside the picture. It is trained on single pictures: `edgeseg.data.memory` makes up what the frame
before would have said.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.unet_lite import UNetLite

COLORS = 3


class UNetVideo(UNetLite):
    """float32 [N, 4, H, W] -> the foreground's logits [N, 1, H, W].

    The channels are normalized RGB and the probability of the frame before, 0 to 1; zeros where there is none. Weights
    of a `unet_lite` of the same shape fit: the network then answers as that one does, until it has learned what the
    fourth channel is good for.

    Args:
        options: as `unet_lite` takes them, `classes` excepted, of which there are two.
    """

    in_channels = COLORS + 1

    def __init__(self, classes: int = 1, **options: Any) -> None:
        if classes != 1:
            raise UsageError("unet_video knows two classes", classes, "Take unet_lite for more")
        super().__init__(classes, **options)
        name, first = next(item for item in self.encoder.named_modules() if isinstance(item[1], nn.Conv2d))
        parent, _, leaf = name.rpartition(".")
        setattr(self.encoder.get_submodule(parent), leaf, MemoryConv(first))


class MemoryConv(nn.Conv2d):
    """A first convolution for pictures, `first`, with one channel more for the frame before.

    Loaded from a convolution for pictures alone it ignores that channel.
    """

    def __init__(self, first: nn.Conv2d) -> None:
        super().__init__(
            COLORS + 1,
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            first.stride,  # type: ignore[arg-type]
            first.padding,  # type: ignore[arg-type]
            bias=first.bias is not None,
        )
        self.register_load_state_dict_pre_hook(_append_channel)  # type: ignore[no-untyped-call]


def _append_channel(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    weight = state.get(f"{prefix}weight")
    if weight is not None and weight.shape[1] == COLORS:
        state[f"{prefix}weight"] = torch.cat([weight, torch.zeros_like(weight[:, :1])], dim=1)
