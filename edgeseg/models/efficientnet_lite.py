"""EfficientNet-Lite0 as an encoder, at full width or slimmed, and its ImageNet weights.

Slimming keeps the block's input and output widths and cuts the hidden channels in between, where nearly all of the
time goes: the channels whose depthwise batch norm and projection weigh least are left out (the criterion of network
slimming, Liu et al. 2017, extended by the projection's norm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeseg.errors import InputError, UsageError
from edgeseg.models.blocks import ConvNormAct, InvertedResidual

# (blocks, output channels, expansion, kernel, stride) of the stages, Tan and Le 2019; Lite: no squeeze-and-excite.
STAGES = (
    (1, 16, 1, 3, 1),
    (2, 24, 6, 3, 2),
    (2, 40, 6, 5, 2),
    (3, 80, 6, 3, 2),
    (3, 112, 6, 5, 1),
    (4, 192, 6, 5, 2),
    (1, 320, 6, 3, 1),
)
STEM = 32


class EfficientNetLite0(nn.Module):
    """Feature maps at strides 2, 4, 8, 16 and, with more than five stages, 32.

    Args:
        blocks: blocks kept of each stage, from the first on; its length says how many stages there are (5 to 7).
        ratio: share of the hidden channels that is kept in each stage, 0 to 1.
        stem: channels of the first convolution, at most 32.
    """

    def __init__(
        self, blocks: Sequence[int] = (1, 2, 2, 3, 3, 4, 1), ratio: Sequence[float] = (1.0,) * 7, stem: int = STEM
    ) -> None:
        super().__init__()
        if not 5 <= len(blocks) <= len(STAGES) or len(ratio) < len(blocks):
            raise UsageError("bad encoder stages", f"blocks {list(blocks)}, ratio {list(ratio)}", "Give 5 to 7 of each")
        self.stem = ConvNormAct(3, stem, 3, stride=2)
        self.stages = nn.ModuleList()
        width, widths = stem, []
        for keep, share, (_, cout, expansion, kernel, stride) in zip(blocks, ratio, STAGES, strict=False):
            stage = nn.Sequential()
            for index in range(keep):
                hidden = width if expansion == 1 else max(8, round(width * expansion * share / 8) * 8)
                stage.append(InvertedResidual(width, hidden, cout, kernel, stride if index == 0 else 1))
                width = cout
            self.stages.append(stage)
            widths.append(cout)
        last = len(blocks) - 1
        self.taps = (0, 1, 2, 4) if last == 4 else (0, 1, 2, 4, last)
        self.channels = tuple(widths[tap] for tap in self.taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                features.append(x)
        return features


def load_imagenet(encoder: EfficientNetLite0, path: Path) -> None:
    """Fill `encoder` from the EfficientNet-Lite0 checkpoint at `path`, slimming it to the encoder's widths.

    Raises:
        InputError: the file cannot be read, or is no EfficientNet-Lite0 state_dict.
    """
    try:
        source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        _load_blocks(encoder, source)
    except FileNotFoundError:
        raise InputError(
            "encoder weights not found", path, "Give encoder_weights=PATH, or null to start fresh"
        ) from None
    except (KeyError, RuntimeError, OSError) as error:
        raise InputError("not an EfficientNet-Lite0 checkpoint", f"{path} ({error})", "Give its state_dict") from None


def _load_blocks(encoder: EfficientNetLite0, source: Mapping[str, Tensor]) -> None:
    kept = _important(source, "_blocks.0", _width(encoder.stem))
    _fill(encoder.stem, source, "_conv_stem", "_bn0", rows=kept)
    number = 0
    for stage, (total, *_rest) in zip(encoder.stages, STAGES, strict=False):
        for index, block in enumerate(stage.children()):
            assert isinstance(block, InvertedResidual)
            name = f"_blocks.{number + index}"
            if isinstance(block.expand, ConvNormAct):
                kept = _important(source, name, _width(block.depthwise))
                _fill(block.expand, source, f"{name}._expand_conv", f"{name}._bn0", rows=kept)
            _fill(block.depthwise, source, f"{name}._depthwise_conv", f"{name}._bn1", rows=kept)
            _fill(block.project, source, f"{name}._project_conv", f"{name}._bn2", columns=kept)
        number += total


def _width(layer: ConvNormAct) -> int:
    convolution = layer[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels


def _important(source: Mapping[str, Tensor], block: str, count: int) -> Tensor:
    weight = source[f"{block}._project_conv.weight"].flatten(2).norm(dim=(0, 2)) * source[f"{block}._bn1.weight"].abs()
    kept: Tensor = weight.topk(count).indices.sort().values
    return kept


def _fill(
    layer: ConvNormAct,
    source: Mapping[str, Tensor],
    conv: str,
    norm: str,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
) -> None:
    weight = source[f"{conv}.weight"]
    weight = weight if rows is None else weight[rows]
    weight = weight if columns is None else weight[:, columns]
    layer[0].load_state_dict({"weight": weight})
    keys = ("weight", "bias", "running_mean", "running_var")
    values = {key: source[f"{norm}.{key}"] for key in keys}
    layer[1].load_state_dict({key: v if rows is None else v[rows] for key, v in values.items()}, strict=False)
