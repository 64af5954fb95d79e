"""The kernels' launchers under their names of C (cpp_ext/kernels/c_api.cpp), looked up once.

For a GPU they lie in the plugin's library; for a CPU in a library beside it, of the same source compiled for the CPU.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

from edgeseg.errors import InputError, ModelError
from edgeseg.export.plugin import LIBRARY, find_library

CPU_LIBRARY = "libedgeseg_cpu.so"


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
