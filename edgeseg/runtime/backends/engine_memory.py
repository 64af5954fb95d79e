"""The memory that an engine reads and writes in one call: fixed places, so that a recorded graph of it stays true.

discrete GPU     pinned host memory --upload--> device memory --engine--> device memory --download--> pinned
integrated GPU   mapped host memory, which the engine reads and writes itself: nothing is copied
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.runtime.backends.gpu import Gpu, HostMemory

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of an engine.

    Attributes:
        name: in the file.
        is_input: whether it is read.
        dtype: of its elements.
        shape: None for a size that varies.
        largest: the shape with all sizes at their largest.
    """

    name: str
    is_input: bool
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    largest: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes at the largest."""
        return prod(self.largest) * self.dtype.itemsize


class Slot:
    """Memory for one call. Made and used while the GPU is bound.

    Attributes:
        graphs: the recorded calls, once there are any: True for those with the upload in them, False for those without.
        runs: calls so far, by the same.
        busy: begun and not fetched yet.
        mark: in the stream, behind what is to be waited for.
    """

    def __init__(self, gpu: Gpu, tensors: Mapping[str, Tensor]) -> None:
        self._gpu, self._tensors = gpu, tensors
        self.graphs: dict[bool, Any] = {}
        self.runs = {True: 0, False: 0}
        self.busy = False
        self.mark: Any = None
        self._host: dict[str, HostMemory] = {}
        self._device: dict[str, int] = {}
        try:
            for name, tensor in tensors.items():
                self._host[name] = gpu.host(tensor.nbytes)
                if not self._host[name].address:
                    self._device[name] = gpu.allocate(tensor.nbytes)
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> int:
        """Where the engine finds a tensor."""
        return self._device.get(name) or self._host[name].address

    def array(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """A tensor as the host sees it: an array over the pinned memory."""
        dtype = self._tensors[name].dtype
        return self._host[name].array[: prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def owns(self, array: npt.NDArray[Any], name: str) -> bool:
        """True for an array that lies where the engine's own input lies already."""
        return bool(array.ctypes.data == self._host[name].array.ctypes.data)

    def fill(self, name: str, array: npt.NDArray[Any]) -> None:
        """Copy an input to where the engine or its upload finds it, unless it lies there."""
        if not self.owns(array, name):
            self.array(name, array.shape)[:] = array

    def upload(self, names: Mapping[str, int], beside: bool = False) -> None:
        """Queue the copies of inputs to the device; bytes by name. None on an integrated GPU.

        With `beside` they run while the engine still works on another slot.
        """
        copy = self._gpu.upload_beside if beside else self._gpu.upload
        for name, size in names.items():
            if name in self._device:
                copy(self._device[name], self._host[name].array[:size])

    def download(self, names: Mapping[str, int]) -> None:
        """Queue the copies of outputs to the host; bytes by name."""
        for name, size in names.items():
            if name in self._device:
                self._gpu.download(self._host[name].array[:size], self._device[name])

    def close(self) -> None:
        """Give all of it back; may be called again."""
        for address in self._device.values():
            self._gpu.free(address)
        for memory in self._host.values():
            memory.free()
        self._device.clear()
        self._host.clear()
        self.graphs.clear()
        self.mark = None
