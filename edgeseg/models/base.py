"""What every semantic network is: an encoder, something on top of it, logits."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.encoders.base import Encoder


class SemanticNetwork(nn.Module):
    """float32 [N, 3, H, W], normalized RGB, H and W multiples of `stride` -> logits [N, classes, H, W].

    Attributes:
        encoder: where its features come from; its weights alone come from ImageNet.
        stride: what height and width of the input must be multiples of.
        mean, std: RGB on the 0..255 scale; the input is `(x - mean) / std`.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.stride = encoder.strides[-1]
        self.mean, self.std = encoder.mean, encoder.std

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def head_state(self) -> dict[str, Tensor]:
        """All that is not the encoder's, by its name in `state_dict`."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("encoder.")}
