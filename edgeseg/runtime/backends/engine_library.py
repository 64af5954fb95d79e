"""One engine as TensorRT or TensorRT-RTX has it loaded; what differs between the two at run time stands here alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import BackendError, ModelError
from edgeseg.runtime.backends.cache import KEPT_ENGINES, cache_folder, trim, write_aside
from edgeseg.runtime.backends.engine_file import EngineFile
from edgeseg.runtime.backends.engine_log import device_bytes, make_logger
from edgeseg.runtime.backends.engine_memory import Shapes, Tensor
from edgeseg.runtime.backends.gpu import Gpu, full_gpu
from edgeseg.runtime.notices import info

_LOOK = "Look at nvidia-smi and dmesg"
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "UINT8": "uint8"}


class LoadedEngine:
    """Runtime, engine and execution context. Made, used and closed while the GPU is bound.

    Args:
        file: the engine.
        library: the module `tensorrt` or `tensorrt_rtx`.
        gpu: the device.

    Attributes:
        tensors: inputs and outputs by name.
        fixed: no size varies.
        records_itself: the library makes CUDA graphs of its calls by its own strategy.

    Raises:
        EngineMisfit: the library does not take the file.
        ModelError: an output's size depends on data.
        BackendError: the engine finds too little memory.
    """

    def __init__(self, file: EngineFile, library: Any, gpu: Gpu) -> None:
        self._file, self._library, self._gpu = file, library, gpu
        self._log = make_logger(library)
        self.records_itself = hasattr(library, "CudaGraphStrategy")
        if file.plugin is not None:
            library.init_libnvinfer_plugins(self._log, "")
            library.get_plugin_registry().load_library(str(file.plugin))
        try:
            self._runtime: Any = library.Runtime(self._log)
        except TypeError:  # a null pointer, to Python
            raise self._no_memory() or BackendError("the library does not start", self._log.last(), _LOOK) from None
        self._engine: Any = self._runtime.deserialize_cuda_engine(file.path.read_bytes())
        if self._engine is None:
            # Another build would not mend a full GPU.
            raise self._no_memory() or file.misfit(
                "the library does not take the engine", self._log.last(), "an engine for this GPU"
            )
        self._compiled: Any = None
        self._context: Any = self._make_context()
        if self._context is None:
            seen = f"{file.path} ({self._log.last()})"
            raise self._no_memory() or BackendError("the engine cannot run here", seen, _LOOK)
        self.tensors: Mapping[str, Tensor] = {tensor.name: tensor for tensor in self._describe()}
        self.fixed = all(None not in tensor.shape for tensor in self.tensors.values())

    def shapes(self, given: Shapes) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors in the next call, whose inputs have the given ones."""
        for name, shape in given.items():
            self._context.set_input_shape(name, shape)
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self.tensors}

    def enqueue(self, addresses: Mapping[str, int]) -> None:
        """Queue a call that finds its tensors at these addresses."""
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        if not self._context.execute_async_v3(self._gpu.stream):
            raise self._no_memory() or ModelError(
                "the engine failed", f"{self._file.path} ({self._log.last()})", "Build it again"
            )

    def close(self) -> None:
        """Keep what was compiled, and free everything."""
        if self._compiled is not None:
            place = self._compiled_place()
            try:
                write_aside(place, bytes(self._compiled.serialize()))
                trim(place.parent, f"*{place.suffix}", KEPT_ENGINES)
            except OSError as error:
                info(f"cannot keep what was compiled: {place} ({error.strerror})")
        # In this order: each needs the next.
        self._context = self._compiled = self._engine = self._runtime = None

    @property
    def context_bytes(self) -> int:
        """What one execution context takes on the device, by the library's own word: weights are not in it."""
        return int(self._engine.device_memory_size_v2)

    def _no_memory(self) -> BackendError | None:
        """The error, where the library's last complaints say that memory ran out."""
        told = self._log.no_memory()
        if not told:
            return None
        needed = device_bytes(self._file.built)
        known = "" if needed is None else f"; its builder said {needed / 2**20:.1f} MiB"
        return full_gpu(f"{self._file.path} ({told}{known})")

    def _make_context(self) -> Any:
        if not self.records_itself:
            return self._engine.create_execution_context()
        # TensorRT-RTX compiles kernels at the first run on a device; its cache makes the next start quick.
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._compiled = config.create_runtime_cache()
        if self._compiled_place().is_file():
            self._compiled.deserialize(self._compiled_place().read_bytes())  # a foreign one is refused by the library
        config.set_runtime_cache(self._compiled)
        return self._engine.create_execution_context(config)

    def _compiled_place(self) -> Path:
        capability = self._gpu.compute_capability
        return cache_folder() / "engines" / f"{self._file.sha256[:16]}-{capability}-{self._gpu.ordinal}.rtx"

    def _describe(self) -> list[Tensor]:
        """All tensors; outputs' sizes come from the context with its inputs at their largest."""
        engine = self._engine
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == self._library.TensorIOMode.INPUT]
        ranges = {name: [tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0)] for name in inputs}
        for name, (_, _, largest) in ranges.items():
            self._context.set_input_shape(name, largest)
        one_size = all(smallest == largest for smallest, _, largest in ranges.values())
        found = []
        for name in names:
            most = tuple(self._context.get_tensor_shape(name))
            if min(most, default=1) < 0:
                todo = "Export it with sizes that do not depend on the picture"
                raise ModelError("an output's size depends on data", f"{self._file.path} ({name})", todo)
            declared = most if one_size else tuple(engine.get_tensor_shape(name))
            shape = tuple(None if size < 0 else size for size in declared)
            dtype = np.dtype(_DTYPES.get(engine.get_tensor_dtype(name).name, "void"))
            found.append(Tensor(name, name in inputs, dtype, shape, most))
        return found
