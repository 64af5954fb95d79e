"""Labels from low-resolution logits by the plugin's own kernel, behind an engine that ends at them.

TensorRT-RTX takes no plugins: its engine is built from a file that `label_map.end_at_logits` cut off, and this makes
the label map of what it gives, on the same stream. examples/label_map_behind_engine.py goes the whole way.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from edgeseg.export.launchers import NCHW, NHWC, TYPES, is_channels_last, launch

MOST_CLASSES, MOST_SCALE = 256, 1024


class _LabelMap(ctypes.Structure):
    """`edgeseg::LabelMap` of cpp_ext/kernels/label_map.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("scale", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("logits", ctypes.c_int64 * 3),
        ("as_bytes", ctypes.c_bool),
    )


def label_map(logits: Tensor, scale: int, cut: tuple[int, int, int, int] | None = None) -> Tensor:
    """Upsample bilinearly (half-pixel centres), and take the best class of each pixel, in one pass.

    Args:
        logits: [N, C, h, w], finite, float32, float16, bfloat16 or int8, on a GPU or the CPU, C 1 to 256. On a GPU the
            kernel is put on torch's current stream.
        scale: integer upsampling factor, 1 to 1024.
        cut: (top, left, bottom, right) of what is kept, as `label_map.Ending` has it.

    Returns:
        uint8 [N, scale * h, scale * w], or what `cut` keeps of it (a view). Of equal logits the first class wins.

    Raises:
        ValueError: logits or a scale that the kernel does not take.
        InputError: no library: `make ext`.
        ModelError: a library without the kernel, or an error of CUDA's.
    """
    if logits.ndim != 4 or logits.dtype not in TYPES or not 1 <= logits.shape[1] <= MOST_CLASSES:
        kinds = ", ".join(map(str, TYPES))
        raise ValueError(f"logits are [N, 1 to {MOST_CLASSES}, h, w] of {kinds}: {tuple(logits.shape)}, {logits.dtype}")
    if not 1 <= scale <= MOST_SCALE:
        raise ValueError(f"scale is 1 to {MOST_SCALE}: {scale}")
    packed = is_channels_last(logits)
    logits = logits if packed else logits.contiguous()
    batch, channels, rows, columns = logits.shape
    labels = torch.empty((batch, scale * rows, scale * columns), dtype=torch.uint8, device=logits.device)
    layout = NHWC if packed else NCHW
    step = _LabelMap(TYPES.index(logits.dtype), layout, scale, batch, (channels, rows, columns), True)
    launch("edgeseg_label_map", step, logits, labels)
    if cut is None:
        return labels
    top, left, bottom, right = cut
    return labels[:, top:bottom, left:right]
