"""`Gpu` over pycuda (https://documen.tician.de/pycuda), for machines that have it. It records no graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgeseg.errors import BackendError
from edgeseg.runtime.backends.gpu import Bytes, Gpu, HostMemory, out_of_memory


class PyCudaGpu(Gpu):
    """See `Gpu`."""

    provider = "pycuda"
    has_graphs = False

    def __init__(self, ordinal: int) -> None:
        import pycuda.driver as driver

        self._cuda: Any = driver
        driver.init()
        device = driver.Device(ordinal)
        self.ordinal, self.name = ordinal, device.name()
        self.compute_capability = ".".join(str(part) for part in device.compute_capability())
        self.integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
        self._context: Any = device.retain_primary_context()
        self._allocated: dict[int, Any] = {}
        with self.bound():
            self._stream = driver.Stream()
            self._event = driver.Event(driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING)
        self.stream = int(self._stream.handle)

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """See `Gpu.bound`."""
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def allocate(self, size: int) -> int:
        """See `Gpu.allocate`."""
        try:
            memory = self._cuda.mem_alloc(size)
        except self._cuda.MemoryError:
            raise out_of_memory(size) from None
        self._allocated[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """See `Gpu.free`."""
        self._allocated.pop(address).free()

    def host(self, size: int) -> HostMemory:
        """See `Gpu.host`."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP if self.integrated else 0
        try:
            array = self._cuda.pagelocked_empty(size, np.uint8, mem_flags=flags)
        except self._cuda.MemoryError:
            raise out_of_memory(size) from None
        address = int(array.base.get_device_pointer()) if self.integrated else 0
        return HostMemory(array, address, array.base.free)

    def upload(self, address: int, source: Bytes) -> None:
        """See `Gpu.upload`."""
        self._cuda.memcpy_htod_async(address, source, self._stream)

    def download(self, target: Bytes, address: int) -> None:
        """See `Gpu.download`."""
        self._cuda.memcpy_dtoh_async(target, address, self._stream)

    def wait(self) -> None:
        """See `Gpu.wait`."""
        self._event.record(self._stream)
        self._event.synchronize()

    def wait_for(self, stream: int) -> None:
        """See `Gpu.wait_for`; it takes no handle of another's stream, so all of them are waited for."""
        self._cuda.Context.synchronize()

    def begin_capture(self) -> None:
        """See `Gpu.begin_capture`."""
        raise BackendError("pycuda records no graphs", "", "Install cuda-bindings for that")

    def end_capture(self) -> Any:
        """See `Gpu.end_capture`."""
        self.begin_capture()

    def launch(self, graph: Any) -> None:
        """See `Gpu.launch`."""
        self.begin_capture()

    def close(self) -> None:
        """See `Gpu.close`."""
        if self._context is None:
            return
        with self.bound():
            # Destroyed by their last reference, which must go while the context is bound.
            del self._event, self._stream
        self._context.detach()
        self._context = None
