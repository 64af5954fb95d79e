"""`Gpu` over cuda-python (package cuda-bindings), by CUDA's driver API: https://nvidia.github.io/cuda-python."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgeseg.errors import EdgeSegError
from edgeseg.runtime.backends.gpu import Bytes, Gpu, HostMemory, out_of_memory


class CudaPythonGpu(Gpu):
    """See `Gpu`."""

    provider = "cuda.bindings"
    has_graphs = True

    def __init__(self, ordinal: int) -> None:
        from cuda.bindings import driver

        self._cuda: Any = driver
        self.ordinal = ordinal
        self._call("cuInit", 0)
        self._device = self._call("cuDeviceGet", ordinal)
        self.name = self._call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        wanted = driver.CUdevice_attribute
        self.compute_capability = ".".join(
            str(self._attribute(getattr(wanted, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}")))
            for part in ("MAJOR", "MINOR")
        )
        self.integrated = bool(self._attribute(wanted.CU_DEVICE_ATTRIBUTE_INTEGRATED))
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        self._graphs: list[Any] = []
        self._events: list[Any] = []
        with self.bound():
            # Its own streams, which do not wait for the default one: others may be busy there.
            self._stream, self._uploads = (
                self._call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value) for _ in range(2)
            )
            self._event, self._uploaded = self._new_event(), self._new_event()
        self.stream = int(self._stream)

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """See `Gpu.bound`."""
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")

    def allocate(self, size: int) -> int:
        """See `Gpu.allocate`."""
        return int(self._call("cuMemAlloc", size, size=size))

    def free(self, address: int) -> None:
        """See `Gpu.free`."""
        self._call("cuMemFree", address)

    def host(self, size: int) -> HostMemory:
        """See `Gpu.host`."""
        flags = self._cuda.CU_MEMHOSTALLOC_DEVICEMAP if self.integrated else 0
        place = int(self._call("cuMemHostAlloc", size, flags, size=size))
        address = int(self._call("cuMemHostGetDevicePointer", place, 0)) if self.integrated else 0
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(place))
        return HostMemory(array, address, lambda: self._call("cuMemFreeHost", place))

    def upload(self, address: int, source: Bytes) -> None:
        """See `Gpu.upload`."""
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, self._stream)

    def upload_beside(self, address: int, source: Bytes) -> None:
        """See `Gpu.upload_beside`."""
        self._call("cuMemcpyHtoDAsync", address, source.ctypes.data, source.nbytes, self._uploads)

    def wait_for_uploads(self) -> None:
        """See `Gpu.wait_for_uploads`."""
        self._call("cuEventRecord", self._uploaded, self._uploads)
        self._call("cuStreamWaitEvent", self._stream, self._uploaded, 0)

    def download(self, target: Bytes, address: int) -> None:
        """See `Gpu.download`."""
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, address, target.nbytes, self._stream)

    def mark(self, before: Any = None) -> Any:
        """See `Gpu.mark`."""
        event = self._new_event() if before is None else before
        self._call("cuEventRecord", event, self._stream)
        return event

    def wait(self, mark: Any = None) -> None:
        """See `Gpu.wait`."""
        self._call("cuEventSynchronize", self.mark(self._event) if mark is None else mark)

    def wait_for(self, stream: int) -> None:
        """See `Gpu.wait_for`."""
        event = self._call("cuEventCreate", self._cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING.value)
        try:
            self._call("cuEventRecord", event, self._cuda.CUstream(stream))
            self._call("cuStreamWaitEvent", self._stream, event, 0)
        finally:
            self._call("cuEventDestroy", event)

    def begin_capture(self) -> None:
        """See `Gpu.begin_capture`."""
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", self._stream, mode)

    def end_capture(self) -> Any:
        """See `Gpu.end_capture`."""
        recorded = self._call("cuStreamEndCapture", self._stream)
        try:
            graph = self._call("cuGraphInstantiate", recorded, 0)
        finally:
            self._call("cuGraphDestroy", recorded)
        self._graphs.append(graph)
        return graph

    def launch(self, graph: Any) -> None:
        """See `Gpu.launch`."""
        self._call("cuGraphLaunch", graph, self._stream)

    def close(self) -> None:
        """See `Gpu.close`."""
        if self._context is None:
            return
        with self.bound():
            for graph in self._graphs:
                self._call("cuGraphExecDestroy", graph)
            for event in self._events:
                self._call("cuEventDestroy", event)
            for stream in (self._uploads, self._stream):
                self._call("cuStreamDestroy", stream)
        self._call("cuDevicePrimaryCtxRelease", self._device)
        self._context = None

    def _new_event(self) -> Any:
        """One that is waited for asleep; destroyed at the end."""
        flags = self._cuda.CUevent_flags
        wanted = flags.CU_EVENT_BLOCKING_SYNC.value | flags.CU_EVENT_DISABLE_TIMING.value
        self._events.append(self._call("cuEventCreate", wanted))
        return self._events[-1]

    def _attribute(self, which: Any) -> int:
        return int(self._call("cuDeviceGetAttribute", which, self._device))

    def _call(self, function: str, *args: Any, size: int = 0) -> Any:
        """One function of the driver: its result, or an error with the driver's words."""
        error, *values = getattr(self._cuda, function)(*args)
        if error == self._cuda.CUresult.CUDA_SUCCESS:
            return values[0] if values else None
        if error == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_memory(size)
        told = self._cuda.cuGetErrorString(error)[1]
        text = f"{function}: {told.decode() if told else error.name}"
        raise EdgeSegError("the GPU failed", text, "Try again; if it comes again, look at nvidia-smi and dmesg")
