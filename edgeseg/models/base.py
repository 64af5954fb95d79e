"""What every network is: semantic ones with an encoder or without, and those that find instances."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from edgeseg.models.encoders.base import MEAN, STD, Encoder, Triple


class Network(nn.Module):
    """Takes float32 [N, in_channels, H, W], normalized RGB, H and W multiples of `stride`.

    Attributes:
        in_channels: 3, or 4 for a network with memory, which takes the probability of the frame before (0 to 1) too.
        stride: what height and width of the input must be multiples of.
        mean, std: RGB on the 0..255 scale; the input is `(x - mean) / std`.
    """

    in_channels = 3

    def __init__(self, stride: int, mean: Triple = MEAN, std: Triple = STD) -> None:
        super().__init__()
        self.stride, self.mean, self.std = stride, mean, std

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of what is answered for, in the middle, for an input of that size; UsageError if none is."""
        return height, width


@runtime_checkable
class Encoded(Protocol):
    """A network on an encoder whose weights may come from ImageNet."""

    in_channels: int
    mean: Triple
    std: Triple

    @property
    def encoder(self) -> Encoder:
        """What makes the feature maps."""
        ...


class SemanticNetwork(Network):
    """-> logits [N, classes, H, W], one channel (the foreground's) for two classes."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class EncodedNetwork(SemanticNetwork):
    """A semantic network on an encoder whose weights may come from ImageNet."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder.strides[-1], encoder.mean, encoder.std)
        self.encoder = encoder

    def head_state(self) -> dict[str, Tensor]:
        """All that is not the encoder's, by its name in `state_dict`."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("encoder.")}
