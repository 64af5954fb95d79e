"""The GPU as engines need it: memory, two streams, graphs. Two packages provide it: cuda-python and pycuda.

The stream is where engines run. Beside it runs a second one that only uploads: the next picture's bytes may travel
while the engine still reads this one's.

Both work in CUDA's primary context of a device, which TensorRT uses as well, so their addresses and streams fit it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from edgeseg.errors import BackendError, UsageError, nearest

Bytes = npt.NDArray[np.uint8]

# Package to look for -> "module:class", in the order of preference.
_PROVIDERS = {
    "cuda.bindings": "edgeseg.runtime.backends.gpu_cuda_python:CudaPythonGpu",
    "pycuda": "edgeseg.runtime.backends.gpu_pycuda:PyCudaGpu",
}


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the host that the GPU reads and writes by itself (pinned).

    Attributes:
        array: uint8 [size], valid until `free`.
        address: where the GPU sees the same bytes; 0 where it does not (only integrated GPUs are given that).
        free: gives it back.
    """

    array: Bytes
    address: int
    free: Callable[[], None]


class Gpu(Protocol):
    """One device with streams of its own. What takes addresses must be called inside `bound()`.

    Attributes:
        provider: package that stands behind it.
        name: the device's own name ("Orin").
        ordinal: its number, from 0.
        compute_capability: "8.7" for one.
        integrated: it shares the host's memory, so that mapped memory needs no copy.
        stream: handle of the stream (a CUstream as an integer).
        has_graphs: `begin_capture`, `end_capture` and `launch` work.
    """

    provider: str
    name: str
    ordinal: int
    compute_capability: str
    integrated: bool
    stream: int
    has_graphs: bool

    def bound(self) -> AbstractContextManager[None]:
        """While active, this thread talks to this device."""

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes on the device; BackendError where they are not there."""

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""

    def host(self, size: int) -> HostMemory:
        """New pinned memory of the host; mapped on an integrated device."""

    def upload(self, address: int, source: Bytes) -> None:
        """Queue a copy to the device; `source` is pinned and stays as it is until `wait`."""

    def upload_beside(self, address: int, source: Bytes) -> None:
        """As `upload`, at once, beside what the stream does: nothing there may read or write that place meanwhile."""

    def wait_for_uploads(self) -> None:
        """What is queued next runs after all that `upload_beside` was given by now."""

    def download(self, target: Bytes, address: int) -> None:
        """Queue a copy from the device; `target` is pinned and is there after `wait`."""

    def mark(self, before: Any = None) -> Any:
        """A mark behind all that is queued by now, for `wait`. One that is not needed any more, `before`, is moved."""

    def wait(self, mark: Any = None) -> None:
        """Return when all that was queued, or what stands before a mark, is done; the thread sleeps meanwhile."""

    def wait_for(self, stream: int) -> None:
        """What is queued next runs after all that another stream holds by now."""

    def begin_capture(self) -> None:
        """What is queued from now on is recorded instead; calls of other threads are not."""

    def end_capture(self) -> Any:
        """The recorded graph, ready for `launch`; an exception where something could not be recorded."""

    def launch(self, graph: Any) -> None:
        """Queue a whole graph."""

    def close(self) -> None:
        """Give back graphs, marks, streams and context; may be called again."""


def gpu_count() -> int:
    """How many GPUs CUDA's driver finds; 0 without a driver. No package is needed for it."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    return 0 if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) else count.value


def open_gpu(device: str | None, library: str, provider: str | None = None) -> Gpu:
    """Open a device.

    Args:
        device: its number, "0" for one, or "cuda:0"; the first one when None.
        library: who needs it ("tensorrt"), for errors.
        provider: "cuda.bindings" or "pycuda"; whichever is installed when None, in that order.

    Raises:
        UsageError: an unknown provider.
        BackendError: no GPU, none of that number, or no provider is installed.
    """
    word = (device or "0").removeprefix("cuda:")
    count = gpu_count()
    if count == 0:
        todo = "Look at nvidia-smi, or leave --backend to auto, which takes what runs on the CPU"
        raise BackendError(f"{library} finds no GPU", "CUDA's driver is absent or names none", todo)
    if not word.isdecimal() or int(word) >= count:
        raise BackendError(f"{library} has no such device here", device, f"Give a number from 0 to {count - 1}")
    if provider is not None and provider not in _PROVIDERS:
        raise UsageError("unknown provider of GPU memory", provider, nearest(provider, _PROVIDERS))
    for package in [provider] if provider else _PROVIDERS:
        if _present(package):
            module, _, name = _PROVIDERS[package].partition(":")
            return cast(Gpu, getattr(import_module(module), name)(int(word)))
    todo = "Install one with pip install cuda-bindings, or pip install 'edgeseg[pycuda]'"
    raise BackendError("no package for GPU memory is installed", provider or ", ".join(_PROVIDERS), todo)


def _present(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a package inside one that is absent
        return False


def out_of_memory(size: int) -> BackendError:
    """The error of both providers."""
    return full_gpu(f"{size / 2**20:.1f} MiB wanted")


def full_gpu(seen: str) -> BackendError:
    """The error for all that finds no room on a GPU."""
    todo = "Close what else uses the GPU, or build the engine with a lower --workspace-mb"
    return BackendError("the GPU has too little free memory", seen, todo)
