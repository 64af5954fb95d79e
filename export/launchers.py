"""The kernels' launchers under their names of C (cpp_ext/kernels/c_api.cpp), looked up once.

For a GPU they lie in the plugin's library; for a CPU in a library beside it, of the same source compiled for the CPU.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeseg.errors import InputError, ModelError
from edgeseg.export.plugin import LIBRARY, find_library

CPU_LIBRARY = "libedgeseg_cpu.so"
# Places in the kernels' enumerations (cpp_ext/kernels/tensor_kinds.h).
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8)
NCHW, NHWC = 0, 1


def launch(name: str, step: ctypes.Structure, *tensors: Tensor) -> None:
    """Run a kernel on tensors of one device: on a GPU it is put on torch's current stream.

    Args:
        name: of its launcher, "edgeseg_label_map" for one.
        step: what is to be done, as the launcher's header describes it.
        tensors: inputs, then the output, laid out as `step` says.

    Raises:
        InputError: no library: `make ext`.
        ModelError: a library without the kernel, or an error of CUDA's.
    """
    device = tensors[0].device
    function = launcher(name, device.type, len(tensors) + 2)
    pointers = [ctypes.c_void_p(values.data_ptr()) for values in tensors]
    if device.type == "cuda":
        with torch.cuda.device(device):
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            status = function(ctypes.byref(step), *pointers, stream)
    else:
        status = function(ctypes.byref(step), *pointers, None)
    if status:
        seen = f"cudaError {status}: {', '.join(str(tuple(values.shape)) for values in tensors)}"
        raise ModelError(f"{name} did not run", seen, "Compare the library's CUDA with the driver's")


def is_channels_last(values: Tensor) -> bool:
    """Whether [N, C, H, W] lies in memory as NHWC, and not as NCHW too."""
    return not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)


@cache
def launcher(name: str, device: str, arguments: int) -> Any:
    """A function of so many pointers that returns a cudaError_t.

    Args:
        name: "edgeseg_label_map" for one.
        device: "cuda", or "cpu": there pointers are to the host's memory, and the stream is None.
        arguments: how many pointers it takes, the stream among them.

    Raises:
        InputError: no library: `make ext`.
        ModelError: a library without that function, or one that does not load.
    """
    path = _path(device)
    try:
        function = getattr(ctypes.CDLL(str(path)), name)
    except (OSError, AttributeError) as error:
        raise ModelError("the kernels' library does not fit", f"{path}: {error}", "Build it again: make ext") from error
    function.argtypes = [ctypes.c_void_p] * arguments
    function.restype = ctypes.c_int
    return function


def _path(device: str) -> Path:
    plugin = find_library()
    path = plugin if plugin is None or device == "cuda" else plugin.with_name(CPU_LIBRARY)
    if path is None or not path.is_file():
        raise InputError("no library of the kernels", path or LIBRARY, "Build it: make ext")
    return path
