"""EfficientNet-Lite0 as an encoder, at full width or slim, and its ImageNet weights.

A slim one keeps each block's input and output widths and has fewer of the hidden channels in between, where nearly all
of the time goes; `edgeseg.models.slimming` fills it from a wide one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.blocks import ConvNormAct, InvertedResidual
from edgeseg.models.encoders.base import Encoder, not_a_checkpoint, read_state

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
FRONT = 2  # stages up to stride 4


class EfficientNetLite0(Encoder):
    """Tan and Le 2019, without squeeze-and-excitation. Maps at strides 2, 4, 8, 16 and, from six stages on, 32.

    Args:
        blocks: blocks kept of each stage, from the first on; its length says how many stages there are (5 to 7). The
            first stage may have none: its maps are the largest of the network.
        ratio: share of the hidden channels that is kept in each stage, 0 to 1.
        stem: channels of the first convolution, at most 32.
        patch: where above 0, the front (stem and first two stages) is another: patches of 4x4 pixels become so many
            channels, a depthwise 3x3 convolution mixes them, and there is no map at stride 2. `edgeseg.models.fronts`
            fills it.
    """

    # Its own input scaling, RGB.
    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)

    def __init__(
        self,
        blocks: Sequence[int] = (1, 2, 2, 3, 3, 4, 1),
        ratio: Sequence[float] = (1.0,) * 7,
        stem: int = STEM,
        patch: int = 0,
    ) -> None:
        super().__init__()
        if not 5 <= len(blocks) <= len(STAGES) or len(ratio) < len(blocks):
            raise UsageError("bad encoder stages", f"blocks {list(blocks)}, ratio {list(ratio)}", "Give 5 to 7 of each")
        if min(blocks[1:]) < 1 or blocks[0] < 0:
            raise UsageError("a stage without blocks", list(blocks), "Give at least 1 to all but the first")
        self.patch = patch
        self.stem = ConvNormAct(3, patch, 4, stride=4) if patch else ConvNormAct(3, stem, 3, stride=2)
        self.stages = nn.ModuleList()
        width, widths = patch or stem, []
        for number, (keep, share, row) in enumerate(zip(blocks, ratio, STAGES, strict=False)):
            _, cout, expansion, kernel, stride = row
            stage = nn.Sequential()
            if patch and number == FRONT - 1:
                mix = InvertedResidual(width, width, cout, 3, 1, expand=False)
                mix.residual = False  # also where the widths happen to be equal
                stage.append(mix)
                width = cout
            for index in range(0 if patch and number < FRONT else keep):
                hidden = width if expansion == 1 else max(8, round(width * expansion * share / 8) * 8)
                step = stride if index == 0 else 1
                stage.append(InvertedResidual(width, hidden, cout, kernel, step, expand=expansion > 1))
                width = cout
            self.stages.append(stage)
            widths.append(width)
        last, first = len(blocks) - 1, 1 if patch else 0
        self.taps = tuple(range(first, 3)) + ((4,) if last == 4 else (4, last))
        self.channels = tuple(widths[tap] for tap in self.taps)
        self.strides = tuple(2 ** (k + 1 + first) for k in range(len(self.taps)))

    def parts(self) -> Sequence[tuple[nn.Module, int, bool]]:
        rows = zip(self.stages, STAGES, strict=False)
        return [
            (self.stem, 4 if self.patch else 2, False),
            *(
                (stage, 1 if self.patch and index < FRONT else row[4], index in self.taps)
                for index, (stage, row) in enumerate(rows)
            ),
        ]

    def load(self, path: Path) -> None:
        state = load_imagenet(path).state_dict()
        wanted = self.state_dict()
        if any(state[key].shape != value.shape for key, value in wanted.items()):
            todo = (
                "Name the file as encoder_weights in a recipe, which slims it on pictures, or give ratio 1 and stem 32"
            )
            raise UsageError("a slim encoder cannot take the weights as they are", path, todo)
        self.load_state_dict({key: state[key] for key in wanted})


def load_imagenet(path: Path) -> EfficientNetLite0:
    """The full encoder with the ImageNet weights at `path`, in eval mode.

    Raises:
        InputError: the file cannot be read, or is no EfficientNet-Lite0 state_dict.
    """
    encoder = EfficientNetLite0().eval()
    source = read_state(path, "EfficientNet-Lite0")
    try:
        encoder.load_state_dict(_renamed(encoder, source))
    except (KeyError, RuntimeError) as error:
        raise not_a_checkpoint(path, "EfficientNet-Lite0", error) from None
    return encoder


def _renamed(encoder: EfficientNetLite0, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint's tensors under the encoder's names."""
    layers = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    for stage, blocks in enumerate(encoder.stages):
        for index, block in enumerate(blocks.children()):
            name = f"_blocks.{number}"
            parts = {"depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}
            if isinstance(block.expand, ConvNormAct):
                parts["expand"] = ("_expand_conv", "_bn0")
            layers |= {
                f"stages.{stage}.{index}.{part}": (f"{name}.{conv}", f"{name}.{norm}")
                for part, (conv, norm) in parts.items()
            }
            number += 1
    renamed = {}
    for layer, (conv, norm) in layers.items():
        renamed[f"{layer}.0.weight"] = source[f"{conv}.weight"]
        for key in ("weight", "bias", "running_mean", "running_var"):
            renamed[f"{layer}.1.{key}"] = source[f"{norm}.{key}"]
        renamed[f"{layer}.1.num_batches_tracked"] = torch.tensor(0)
    return renamed
