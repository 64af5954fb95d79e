"""`unet`: the network of Ronneberger et al. 2015, with unpadded convolutions, so that it gives less than it takes."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.base import SemanticNetwork
from edgeseg.models.ops import UpsampleCropConcat

DEPTH = 4


class DoubleConv(nn.Sequential):
    """Two unpadded 3x3 convolutions, each with ReLU; a map loses four pixels a side length."""

    def __init__(self, cin: int, cout: int, norm: bool) -> None:
        super().__init__()
        for width in (cin, cout):
            self.append(nn.Conv2d(width, cout, 3, bias=not norm))
            if norm:
                self.append(nn.BatchNorm2d(cout))
            self.append(nn.ReLU(inplace=True))


class UpConv(nn.Module):
    """Twice the size at half the channels, joined with the middle of the skip.

    "transposed" is the paper's 2x2 up-convolution; "bilinear" halves the channels and leaves the rest to the fused
    step.
    """

    def __init__(self, cin: int, mode: str) -> None:
        super().__init__()
        learned = mode == "transposed"
        self.up = nn.ConvTranspose2d(cin, cin // 2, 2, 2) if learned else nn.Conv2d(cin, cin // 2, 1)
        self.fuse = UpsampleCropConcat(scale=1 if learned else 2, mode="nearest" if learned else "bilinear")

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.fuse(self.up(deep), skip)
        return joined


class UNet(SemanticNetwork):
    """float32 [N, 3, H, W] -> logits [N, classes, h, w], h and w 184 less than H and W: 572 gives 388.

    Args:
        classes: output channels; 1 for two classes (the foreground's logit).
        width: channels at full size; doubled at each of four halvings (64 to 1024 in the paper).
        up: "transposed" or "bilinear".
        dropout: share of the features dropped at the end of the contracting path.
        norm: batch norm behind each convolution, which the paper has not.
    """

    def __init__(
        self, classes: int = 1, width: int = 64, up: str = "transposed", dropout: float = 0.5, norm: bool = False
    ) -> None:
        super().__init__(stride=1)
        if up not in ("transposed", "bilinear"):
            raise UsageError("unknown way up", up, "Use transposed or bilinear")
        widths = [width * 2**level for level in range(DEPTH + 1)]
        self.down = nn.ModuleList(
            DoubleConv(cin, cout, norm) for cin, cout in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList(UpConv(wide, up) for wide in widths[:0:-1])
        self.join = nn.ModuleList(DoubleConv(wide, wide // 2, norm) for wide in widths[:0:-1])
        self.head = nn.Conv2d(width, classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # The paper's initialization, for layers of convolutions and ReLU: deviation sqrt(2 / inputs).
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        check_size(height, width)
        return valid_length(height), valid_length(width)

    def forward(self, x: Tensor) -> Tensor:
        check_size(x.shape[-2], x.shape[-1])
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            # The contracting path ends with its last two levels.
            x = self.dropout(x) if level >= DEPTH - 1 else x
            skips.append(x)
        x = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(up(x, skips.pop()))
        logits: Tensor = self.head(x)
        return logits


def valid_length(length: int) -> int:
    """Rows or columns that come out for `length`; 0 where that length cannot be halved four times without a rest."""
    for _ in range(DEPTH):
        length -= 4
        if length <= 0 or length % 2:
            return 0
        length //= 2
    length -= 4
    for _ in range(DEPTH):
        length = 2 * length - 4
    return max(0, length)


def check_size(height: int, width: int) -> None:
    """Raise a UsageError that names the nearest larger size, where the network cannot take this one."""
    if valid_length(height) and valid_length(width):
        return
    fitting = [next(n for n in range(max(length, 188), length + 250) if valid_length(n)) for length in (height, width)]
    raise UsageError("the U-Net cannot take this size", f"{height}x{width}", f"Use {fitting[0]}x{fitting[1]}")
