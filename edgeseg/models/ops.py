"""The decoder's fused step in torch: the reference that every other implementation is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def upsample_crop_concat(deep: Tensor, skip: Tensor, scale: int = 2, mode: str = "bilinear") -> Tensor:
    """Upsample `deep`, cut the middle out of `skip`, put both side by side: `[crop(skip), up(deep)]`.

    Args:
        deep: [N, Cd, Hd, Wd].
        skip: [N, Cs, Hs, Ws], at least `scale` times as large as `deep`.
        scale: integer upsampling factor.
        mode: "bilinear" (half-pixel centres, align_corners false) or "nearest".

    Returns:
        [N, Cs + Cd, scale * Hd, scale * Wd]; the crop starts at floor((Hs - scale * Hd) / 2), and so for columns.

    Raises:
        ValueError: the skip is smaller than the upsampled map.
    """
    options = {"align_corners": False} if mode == "bilinear" else {}
    up = F.interpolate(deep, scale_factor=scale, mode=mode, **options)
    height, width = up.shape[-2:]
    rows, columns = skip.shape[-2] - height, skip.shape[-1] - width
    if rows < 0 or columns < 0:
        raise ValueError(f"skip {tuple(skip.shape)} is smaller than the upsampled map {tuple(up.shape)}")
    return torch.cat([center_crop(skip, height, width), up], dim=1)


class UpsampleCropConcat(nn.Module):
    """`upsample_crop_concat` as a layer, exported as one node `edgeseg::UpsampleCropConcat`."""

    def __init__(self, scale: int = 2, mode: str = "bilinear") -> None:
        super().__init__()
        self.scale, self.mode = scale, mode

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        return upsample_crop_concat(deep, skip, self.scale, self.mode)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, mode={self.mode}"


def center_crop(values: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` x `width` of the last two dimensions, as copy-and-crop takes it."""
    top, left = (values.shape[-2] - height) // 2, (values.shape[-1] - width) // 2
    return values[..., top : top + height, left : left + width]
