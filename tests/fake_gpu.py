"""Stand-ins for what cannot be here: a GPU, and TensorRT on one. Both really compute, in the host's memory.

`HostGpu` keeps the contract of `edgeseg.runtime.backends.gpu.Gpu`; test_gpu.py holds it and the real providers to the
same tests. `FakeTensorRt` has as much of TensorRT's Python module as the backend uses; its engines run in ONNX Runtime,
on the addresses that they are given, and what their layers are called and take is made up. What is queued runs at
`wait`, as late as a GPU may run it, and what is uploaded beside the stream when the stream waits for it, or never.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.manifest import beside
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.backends.base import first_inputs
from edgeseg.runtime.backends.gpu import Bytes, Gpu, HostMemory, out_of_memory
from edgeseg.runtime.backends.model_file import read_model_file

_BY_STREAM: dict[int, HostGpu] = {}


def at(address: int, size: int) -> Bytes:
    """The bytes at an address."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


class HostGpu(Gpu):
    """See `Gpu`: memory is the host's, the stream a list of calls, a graph a list that is kept."""

    provider = "host"
    name = "Fake"

    def __init__(self, integrated: bool = False, compute_capability: str = "8.7", memory: int = 1 << 24) -> None:
        self.ordinal, self.integrated, self.compute_capability = 0, integrated, compute_capability
        self.has_graphs = True
        self.stream = 1000 + len(_BY_STREAM)
        _BY_STREAM[self.stream] = self
        self.memory, self.alive = memory, dict[int, Any]()
        self.copies = self.launches = self.closed = self.depth = 0
        self.refuses_capture = False
        self._queue: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._beside: list[Callable[[], None]] = []
        self._reached: set[int] = set()
        self.marks = 0
        self.waited_for: list[int] = []

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def allocate(self, size: int) -> int:
        assert self.depth, "not bound"
        if sum(memory.nbytes for memory in self.alive.values()) + size > self.memory:
            raise out_of_memory(size)
        array = np.full(size, 0xAB, np.uint8)
        self.alive[array.ctypes.data] = array
        return array.ctypes.data

    def free(self, address: int) -> None:
        self.alive.pop(address)

    def host(self, size: int) -> HostMemory:
        address = self.allocate(size)
        return HostMemory(self.alive[address], address if self.integrated else 0, lambda: self.free(address))

    def queue(self, call: Callable[[], None]) -> None:
        assert self.depth, "not bound"
        (self._queue if self._recording is None else self._recording).append(call)

    def upload(self, address: int, source: Bytes) -> None:
        self.copies += 1
        self.queue(lambda: np.copyto(at(address, source.nbytes), source))

    def upload_beside(self, address: int, source: Bytes) -> None:
        assert self.depth, "not bound"
        self.copies += 1
        self._beside.append(lambda: np.copyto(at(address, source.nbytes), source))

    def wait_for_uploads(self) -> None:
        given, self._beside = self._beside, []
        for call in given:
            self.queue(call)

    def download(self, target: Bytes, address: int) -> None:
        self.copies += 1
        self.queue(lambda: np.copyto(target, at(address, target.nbytes)))

    def mark(self, before: Any = None) -> int:
        assert self._recording is None, "a recorded mark cannot be waited for"
        self.marks += before is None
        mark = self.marks if before is None else int(before)
        self._reached.discard(mark)
        self.queue(lambda: self._reached.add(mark))
        return mark

    def wait(self, mark: Any = None) -> None:
        while self._queue and (mark is None or mark not in self._reached):
            self._queue.pop(0)()

    def wait_for(self, stream: int) -> None:
        self.waited_for.append(stream)

    def begin_capture(self) -> None:
        if self.refuses_capture:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._recording = []

    def end_capture(self) -> Any:
        graph, self._recording = self._recording, None
        return graph

    def launch(self, graph: Any) -> None:
        self.launches += 1
        for call in graph:
            self.queue(call)

    def close(self) -> None:
        self.closed += 1


class DataType(Enum):
    """As `tensorrt.DataType`."""

    UINT8 = 5
    FLOAT = 0


class TensorIOMode(Enum):
    """As `tensorrt.TensorIOMode`."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ILogger:
    """As `tensorrt.ILogger`."""

    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)


NO_ROOM = "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"


class IProfiler:
    """As `tensorrt.IProfiler`."""


class LayerInformationFormat(Enum):
    """As `tensorrt.LayerInformationFormat`."""

    ONELINE = 0
    JSON = 1


class _Inspector:
    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    def get_engine_information(self, kind: LayerInformationFormat) -> str:
        assert kind is LayerInformationFormat.JSON
        return json.dumps({"Layers": [{"Name": name, "Metadata": origin} for name, origin, _ in self.layers]})


class _Context:
    profiler: Any = None

    def __init__(self, engine: _Engine, config: Any = None) -> None:
        self.engine, self.config = engine, config
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return shape[0] <= self.engine.batch[2]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        return (self.shapes["image"][0], *self.engine.get_tensor_shape(name)[1:])

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        if self.engine.library.full_at == "call":
            self.engine.log.log(ILogger.ERROR, NO_ROOM)
            return False
        addresses, shapes = dict(self.addresses), {n: self.get_tensor_shape(n) for n in self.engine.tensors}

        def run() -> None:
            self.engine.library.runs += 1
            inputs = {n: at(addresses[n], int(np.prod(shapes[n]))).reshape(shapes[n]) for n in self.engine.inputs}
            found = [
                self.engine.backend.infer({n: array[k : k + 1] for n, array in inputs.items()})
                for k in range(shapes["image"][0])
            ]
            if self.engine.library.wrong:
                found = [{n: 1 - array for n, array in part.items()} for part in found]
            for name in self.engine.backend.manifest.outputs:
                values = np.concatenate([part[name] for part in found])
                at(addresses[name], values.nbytes)[:] = values.reshape(-1)
            for name, _, spent_ms in self.engine.layers if self.profiler else ():
                self.profiler.report_layer_time(name, spent_ms)

        _BY_STREAM[stream].queue(run)
        return True


class _Engine:
    device_memory_size_v2 = 4096

    def __init__(self, library: FakeTensorRt, onnx: str, batch: list[int], layers: list[Any], log: Any) -> None:
        self.library, self.batch, self.layers, self.log = library, batch, layers, log
        self.backend = load_backend(Path(onnx), "onnxruntime")
        manifest = self.backend.manifest
        self.inputs = [*first_inputs(manifest, np.zeros((1, 1, 1, 3), np.uint8))]
        self.tensors = [*self.inputs, *manifest.outputs]
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, place: int) -> str:
        return self.tensors[place]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        manifest = self.backend.manifest
        if name in self.inputs:
            size = (manifest.height, manifest.width)
            return (-1, *size, 3) if name == "image" else (-1, *size)
        return (-1, manifest.output_height, manifest.output_width)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0
        return [(count, *self.get_tensor_shape(name)[1:]) for count in self.batch]

    def create_execution_context(self, config: Any = None) -> _Context | None:
        if self.library.full_at == "context":
            self.log.log(ILogger.ERROR, NO_ROOM)
            return None
        return _Context(self, config)

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector(self.layers)

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig(self.library)


class FakeTensorRt:
    """The module; `wrong` makes engines answer the opposite.

    `full_at` says where the device's memory runs out: "runtime", "engine", "context" or "call".
    """

    ILogger, TensorIOMode, DataType = ILogger, TensorIOMode, DataType
    IProfiler, LayerInformationFormat = IProfiler, LayerInformationFormat

    def __init__(self, version: str = "10.15.1") -> None:
        self.__version__ = version
        self.wrong, self.full_at = False, ""
        self.runs = 0
        self.loaded_plugins: list[str] = []

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - the name of the real one
        library = self

        class Runtime:
            def __init__(self) -> None:
                if library.full_at == "runtime":
                    logger.log(ILogger.ERROR, "CUDA initialization failure with error: 2")
                    raise TypeError("factory function returned nullptr")

            def deserialize_cuda_engine(self, content: bytes) -> _Engine | None:
                body = json.loads(content)
                if library.full_at == "engine":
                    logger.log(ILogger.ERROR, NO_ROOM)
                    logger.log(ILogger.ERROR, "Deserialization failed")
                    return None
                if body.get("broken"):
                    logger.log(ILogger.ERROR, "Serialization assertion failed\nat line 7")
                    return None
                return _Engine(library, body["onnx"], body["batch"], body["layers"], logger)

        return Runtime()

    def init_libnvinfer_plugins(self, logger: Any, namespace: str) -> bool:
        return True

    def get_plugin_registry(self) -> Any:
        library = self

        class Registry:
            def load_library(self, path: str) -> object:
                library.loaded_plugins.append(path)
                return self

        return Registry()


class _RuntimeCache:
    def __init__(self) -> None:
        self.content = b"nothing"

    def deserialize(self, content: bytes) -> bool:
        self.content = content
        return True

    def serialize(self) -> bytes:
        return b"compiled"


class _RuntimeConfig:
    def __init__(self, library: Any) -> None:
        self.library = library
        self.cuda_graph_strategy: Any = None

    def create_runtime_cache(self) -> _RuntimeCache:
        return _RuntimeCache()

    def set_runtime_cache(self, cache: _RuntimeCache) -> None:
        self.library.seen.append((self.cuda_graph_strategy, cache.content))


class FakeTensorRtRtx(FakeTensorRt):
    """The module of TensorRT-RTX, with what it has more."""

    class CudaGraphStrategy(Enum):
        """As `tensorrt_rtx.CudaGraphStrategy`."""

        DISABLED = 0
        WHOLE_GRAPH_CAPTURE = 1

    def __init__(self, version: str = "1.7.1") -> None:
        super().__init__(version)
        self.seen: list[tuple[Any, bytes]] = []


def write_engine(path: Path, onnx: Path, batch: tuple[int, int, int] = (1, 1, 1), **built: Any) -> Path:
    """An engine of the fake library with the manifest that `edgeseg build` writes; `built` changes what it says.

    `layers` in it are the engine's: of each its name, what the parser noted of it, and milliseconds.
    """
    manifest = read_model_file(onnx).manifest
    made = {"broken": built.pop("broken", False), "layers": built.pop("layers", [])}
    content = json.dumps({"onnx": str(onnx), "batch": batch, **made}).encode()
    frame: npt.NDArray[np.uint8] = np.random.default_rng(7).integers(
        0, 256, (1, manifest.height, manifest.width, 3), np.uint8
    )
    with load_backend(onnx, "onnxruntime") as backend:
        labels = backend.infer(first_inputs(manifest, frame))["label_map"][0]
    body = {
        "library": "tensorrt",
        "version": "10.15.1",
        "compute_capability": "8.7",
        "onnx": str(onnx),
        "onnx_sha256": read_model_file(onnx).sha256,
        "plugin": "",
        "plugin_sha256": "",
        "bytes": len(content),
        "engine_sha256": hashlib.sha256(content).hexdigest(),
        "golden_frame": base64.b64encode(cv2.imencode(".png", frame[0])[1].tobytes()).decode(),
        "golden_labels": base64.b64encode(cv2.imencode(".png", labels)[1].tobytes()).decode(),
        **built,
    }
    path.write_bytes(content)
    beside(path).write_text(dataclasses.replace(manifest, origin={"engine": body}).to_json())
    return path
