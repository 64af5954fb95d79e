"""What every encoder has, and how one is dilated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeseg.errors import InputError
from edgeseg.models.blocks import ConvNormAct
from edgeseg.models.sizes import surely

Triple = tuple[float, float, float]

# ImageNet's mean and deviation, RGB on the 0..255 scale, https://docs.pytorch.org/vision/stable/models.html.
MEAN: Triple = (123.675, 116.28, 103.53)
STD: Triple = (58.395, 57.12, 57.375)


class PadEven(nn.Module):
    """A row of zeros below and a column on the right, each where its number is odd."""

    def done(self, x: Tensor) -> bool:
        """Whether nothing is to be added, for any size that the input may have."""
        return surely(x.shape[2] % 2 == 0) and surely(x.shape[3] % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))


class Encoder(nn.Module):
    """Stages in a row; the output of some of them are the feature maps.

    Attributes:
        channels: of each feature map, largest map first.
        strides: input size / size of each feature map.
        mean, std: RGB on the 0..255 scale; the input is `(x - mean) / std`.
        even: where set, what rounds a map of odd size up before a stage halves it; the feature map too, so that each is
            twice as large as the next.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: Triple
    std: Triple

    def __init__(self) -> None:
        super().__init__()
        self.even: PadEven | None = None

    def parts(self) -> Sequence[tuple[nn.Module, int, bool]]:
        """(stage, how much it shrinks its input, whether its output is a feature map), in order."""
        raise NotImplementedError

    def load(self, path: Path) -> None:
        """Take the weights of an ImageNet checkpoint; InputError where it cannot be read or does not fit."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for stage, shrinks, tapped in self.parts():
            if self.even is not None and shrinks > 1 and not self.even.done(x):
                before = x
                x = self.even(x)
                features = [x if feature is before else feature for feature in features]
            x = stage(x)
            if tapped:
                features.append(x)
        return features


def dilate(encoder: Encoder, output_stride: int) -> None:
    """Replace strides beyond `output_stride` by dilation, in place, and correct `encoder.strides`.

    The first convolution of such a stage keeps its dilation, those after it get twice as much: so each reads the
    pixels that it read before.
    """
    stride, rate, strides = 1, 1, []
    for stage, shrinks, tapped in encoder.parts():
        if stride * shrinks > output_stride:
            rate *= shrinks
            _dilate_stage(stage, rate, shrinks)
        else:
            stride *= shrinks
            if rate > 1:
                _dilate_stage(stage, rate, 1)
        if tapped:
            strides.append(stride)
    encoder.strides = tuple(strides)


def _dilate_stage(stage: nn.Module, rate: int, shrinks: int) -> None:
    for module in stage.modules():
        if isinstance(module, ConvNormAct):
            module.same = None
        if not isinstance(module, nn.Conv2d):
            continue
        here = rate
        if module.stride != (1, 1):
            module.stride = (1, 1)
            here = rate // shrinks
        if module.kernel_size != (1, 1):
            module.dilation = (here, here)
            module.padding = tuple(here * (size // 2) for size in module.kernel_size)


def read_state(path: Path, what: str) -> Mapping[str, Tensor]:
    """The state_dict in a file.

    Raises:
        InputError: no such file, or no state_dict of `what`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            "encoder weights not found", path, "Give encoder_weights=PATH, or null to start fresh"
        ) from None
    except Exception as error:  # torch raises whatever its unpickler met
        raise not_a_checkpoint(path, what, error) from None
    if not isinstance(state, Mapping):
        raise not_a_checkpoint(path, what, type(state).__name__)
    return state


def not_a_checkpoint(path: Path, what: str, reason: object) -> InputError:
    """The error for a file that holds something else."""
    first = (str(reason).splitlines() or [type(reason).__name__])[0]
    return InputError(f"not a checkpoint of {what}", f"{path} ({first})", "Give its ImageNet state_dict")
