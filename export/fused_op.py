"""The decoder's fused step as a torch operator over the plugin's own kernel: for parity, and for training on it.

On a GPU it runs the kernel of `libedgeseg_plugin.so`, on a CPU the same source compiled for it (`libedgeseg_cpu.so`,
which `make ext` leaves beside it; for tests, not for speed). `edgeseg.models.ops` has the reference.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeseg.export.launchers import NCHW, NHWC, TYPES, is_channels_last, launch

# Places in the kernel's enumeration (cpp_ext/kernels).
MODES = ("bilinear", "nearest")


class _Step(ctypes.Structure):
    """`edgeseg::UpsampleCropConcat` of cpp_ext/kernels/upsample_crop_concat.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("upsampling", ctypes.c_int),
        ("scale", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("deep", ctypes.c_int64 * 3),
        ("skip", ctypes.c_int64 * 3),
    )


def upsample_crop_concat(deep: Tensor, skip: Tensor, scale: int = 2, mode: str = "bilinear") -> Tensor:
    """Upsample `deep`, cut the middle out of `skip`, put both side by side: `[crop(skip), up(deep)]`, in one pass.

    Args:
        deep: [N, Cd, Hd, Wd], float32, float16, bfloat16 or int8. int8 stands for numbers of one scale that both inputs
            share: the mean is exact, rounded to the nearest, ties to even.
        skip: [N, Cs, Hs, Ws] of that type, on that device, at least `scale` times as large.
        scale: integer upsampling factor, 1 to 1024.
        mode: "bilinear" (half-pixel centres, align_corners false) or "nearest".

    Returns:
        [N, Cs + Cd, scale * Hd, scale * Wd], channels last where `deep` is. Floats have gradients.

    Raises:
        ValueError: tensors, scale or mode that the kernel does not take.
        InputError: no library: `make ext`.
        ModelError: a library without the kernel, or an error of CUDA's.
    """
    result: Tensor = torch.ops.edgeseg.upsample_crop_concat(deep, skip, scale, mode)
    return result


@torch.library.custom_op("edgeseg::upsample_crop_concat", mutates_args=())
def _forward(deep: Tensor, skip: Tensor, scale: int, mode: str) -> Tensor:
    output = _empty(deep, skip, scale, mode)
    channels_last = is_channels_last(deep)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    deep, skip = (values.contiguous(memory_format=memory_format) for values in (deep, skip))
    numbers = (TYPES.index(deep.dtype), NHWC if channels_last else NCHW, MODES.index(mode), scale, deep.shape[0])
    step = _Step(*numbers, tuple(deep.shape[1:]), tuple(skip.shape[1:]))
    launch("edgeseg_upsample_crop_concat", step, deep, skip, output)
    return output


def _empty(deep: Tensor, skip: Tensor, scale: int, mode: str) -> Tensor:
    """The output, not yet written, after all checks."""
    _check(deep, skip, scale, mode)
    shape = (deep.shape[0], skip.shape[1] + deep.shape[1], scale * deep.shape[2], scale * deep.shape[3])
    memory_format = torch.channels_last if is_channels_last(deep) else torch.contiguous_format
    return torch.empty(shape, dtype=deep.dtype, device=deep.device, memory_format=memory_format)


def _check(deep: Tensor, skip: Tensor, scale: int, mode: str) -> None:
    if deep.ndim != 4 or skip.ndim != 4 or deep.shape[0] != skip.shape[0]:
        raise ValueError(f"deep and skip are [N, C, H, W] of one N: {tuple(deep.shape)}, {tuple(skip.shape)}")
    if deep.dtype != skip.dtype or deep.dtype not in TYPES or deep.device != skip.device:
        seen = f"{deep.dtype} on {deep.device}, {skip.dtype} on {skip.device}"
        raise ValueError(f"deep and skip share a device and one of the types {', '.join(map(str, TYPES))}: {seen}")
    if not 1 <= scale <= 1024 or mode not in MODES:
        raise ValueError(f"scale is 1 to 1024, mode one of {', '.join(MODES)}: {scale}, {mode}")
    if skip.shape[2] < scale * deep.shape[2] or skip.shape[3] < scale * deep.shape[3]:
        raise ValueError(f"skip {tuple(skip.shape)} is smaller than deep {tuple(deep.shape)} upsampled by {scale}")


def _keep_shapes(ctx: Any, inputs: tuple[Tensor, Tensor, int, str], output: Tensor) -> None:
    deep, skip, _, mode = inputs
    ctx.deep, ctx.skip, ctx.mode = deep.shape, skip.shape, mode


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    """The step turned round: the crop's gradient gets a border of zeros, the upsampling's is torch's own."""
    of_skip, of_deep = grad[:, : ctx.skip[1]], grad[:, ctx.skip[1] :]
    rows, columns = ctx.skip[2] - grad.shape[2], ctx.skip[3] - grad.shape[3]
    padded = F.pad(of_skip, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    size = [grad.shape[2], grad.shape[3]]
    of_deep, aten = of_deep.contiguous(), torch.ops.aten
    if ctx.mode == "bilinear":
        return aten.upsample_bilinear2d_backward(of_deep, size, list(ctx.deep), False), padded, None, None
    return aten.upsample_nearest2d_backward(of_deep, size, list(ctx.deep)), padded, None, None


_forward.register_fake(_empty)
_forward.register_autograd(_backward, setup_context=_keep_shapes)
