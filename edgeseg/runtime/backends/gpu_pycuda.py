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
            self._stream, self._uploads = driver.Stream(), driver.Stream()
            self._events: list[Any] = []
            self._event, self._uploaded = self._new_event(), self._new_event()
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

    def upload_beside(self, address: int, source: Bytes) -> None:
        """See `Gpu.upload_beside`."""
        self._cuda.memcpy_htod_async(address, source, self._uploads)

    def wait_for_uploads(self) -> None:
        """See `Gpu.wait_for_uploads`."""
        self._uploaded.record(self._uploads)
        self._stream.wait_for_event(self._uploaded)

    def download(self, target: Bytes, address: int) -> None:
        """See `Gpu.download`."""
        self._cuda.memcpy_dtoh_async(target, address, self._stream)

    def mark(self, before: Any = None) -> Any:
        """See `Gpu.mark`."""
        event = self._new_event() if before is None else before
        event.record(self._stream)
        return event

    def wait(self, mark: Any = None) -> None:
        """See `Gpu.wait`."""
        (self.mark(self._event) if mark is None else mark).synchronize()

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
            self._events.clear()
            del self._event, self._uploaded, self._uploads, self._stream
        self._context.detach()
        self._context = None

    def _new_event(self) -> Any:
        flags = self._cuda.event_flags
        self._events.append(self._cuda.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING))
        return self._events[-1]
