"""Half precision in training: the type that autocast computes in, and the scale that float16's gradients need.

bfloat16 has float32's range and needs no more than autocast. Of float16, small gradients would become zero: the loss is
multiplied first, and the gradients are divided again before they are clipped (Micikevicius et al. 2018, "Mixed
Precision Training"). The factor halves where a gradient overflowed, whose step is left out, and doubles after 2000
steps without.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from edgeseg.errors import UsageError, nearest

MODES = ("auto", "bf16", "fp16", "off")


def check_mode(mode: str) -> None:
    """UsageError where a recipe's `amp` is none of `MODES`."""
    if mode not in MODES:
        raise UsageError("unknown amp", mode, nearest(mode, MODES))


def half_type(mode: str, device: torch.device) -> torch.dtype | None:
    """What autocast computes in for a recipe's `amp`; None for float32 throughout.

    Args:
        mode: "bf16", "fp16", "off", or "auto": bfloat16 where the device computes in it, since elsewhere it is much
            slower than float32.
        device: where the network lies.

    Raises:
        UsageError: another mode.
    """
    check_mode(mode)
    if mode == "fp16":
        return torch.float16
    return torch.bfloat16 if mode == "bf16" or (mode == "auto" and _computes_bfloat16(device)) else None


def autocast(half: torch.dtype | None, x: Tensor) -> torch.autocast:
    """The context of a forward pass on `x`: in `half`, or in float32 where that is None."""
    return torch.autocast(x.device.type, half or torch.bfloat16, enabled=half is not None)


def make_scaler(half: torch.dtype | None, device: torch.device) -> GradScaler:
    """Scales the loss for float16; for anything else it passes all through."""
    return GradScaler(device.type, enabled=half is torch.float16)


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
