"""OpenVINO on a CPU, or another device that it finds. Functions are inlined before it reads a file, once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeseg.errors import BackendError, ModelError
from edgeseg.runtime.backends.base import (
    Arrays,
    Backend,
    Signature,
    as_input,
    check_batch,
    check_inputs,
    check_signature,
    default_threads,
    first_line,
    silence,
)
from edgeseg.runtime.backends.cache import cache_folder, trim, write_aside
from edgeseg.runtime.backends.model_file import ModelFile, read_bytes, read_model_file
from edgeseg.runtime.notices import warn

# Part of a cached file's name: a new number when what `inline` makes of a model changes.
_INLINED = "1"
_KEPT = 32  # files in each cache folder
_AHEAD = 2  # calls on their way: one runs, one waits behind it
_DTYPES = {"u8": "uint8", "f32": "float32", "i32": "int32", "i64": "int64"}


class OpenVinoBackend(Backend):
    """See `Backend`; `device` is OpenVINO's name, "CPU" unless given. The batch is fixed, at 1 unless given.

    Left to itself OpenVINO computes floats in bfloat16 where the CPU can, which is faster; `exact` keeps to float32.
    """

    name = "openvino"

    def __init__(
        self,
        model: Path,
        device: str | None = None,
        threads: int | None = None,
        batch: int = 1,
        exact: bool = False,
    ) -> None:
        self.device = device or "CPU"
        threads = threads or default_threads()
        file = read_model_file(model)
        with silence():
            import openvino

            self._tensor: Any = openvino.Tensor
            core = _core()
            _check_device(core, self.device)
            graph = _read(core, file)
            _fix(graph, file, batch)
            compiled = _compile(core, graph, self.device, _properties(self.device, threads, exact), model)
        self.manifest = file.manifest
        self.details = {
            "version": openvino.__version__.partition("-")[0],
            "threads": compiled.get_property("INFERENCE_NUM_THREADS") if self.device == "CPU" else None,
            "inference_precision": compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
        }
        self._inputs = _signature(compiled.inputs)
        check_signature(model, file.manifest, self._inputs, _signature(compiled.outputs))
        self.shares_cores = self.device == "CPU"
        self._request: Any = compiled.create_infer_request()
        self._spare: list[Any] = [compiled.create_infer_request() for _ in range(_AHEAD)]
        self._begun: list[Any] = []
        # Views of the request's own memory, the same for every call: nothing is copied on the way out.
        self._outputs = {name: self._request.get_tensor(name).data for name in file.manifest.outputs}

    def infer(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """See `Backend.infer`."""
        self._check_open()
        kept = self._hand_in(self._request, inputs)
        self._request.infer()
        del kept
        return dict(self._outputs)

    def begin(self, inputs: Arrays) -> Callable[[], dict[str, npt.NDArray[Any]]] | None:
        """See `Backend.begin`: up to two calls."""
        self._check_open()
        if not self._spare:
            return None
        request = self._spare[-1]
        kept = self._hand_in(request, inputs)
        self._begun.append(self._spare.pop())
        request.start_async()

        def outputs() -> dict[str, npt.NDArray[Any]]:
            nonlocal kept
            self._check_open()
            try:
                request.wait()
            finally:
                kept = {}
                self._begun.remove(request)
                self._spare.append(request)
            return {name: request.get_tensor(name).data for name in self.manifest.outputs}

        return outputs

    def close(self) -> None:
        """See `Backend.close`."""
        for request in self._begun:  # what was begun and never fetched
            request.wait()
        self._request = None
        self._spare, self._begun, self._outputs = [], [], {}

    def _check_open(self) -> None:
        if self._request is None:
            raise ModelError("the backend is closed", self.manifest.name, "Load the model again")

    def _hand_in(self, request: Any, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """What must be held until the call has ended: a tensor on shared memory keeps no reference to its array."""
        check_inputs(inputs, self._inputs)
        arrays = {name: as_input(array) for name, array in inputs.items()}
        for name, array in arrays.items():
            request.set_tensor(name, self._tensor(array, shared_memory=True))
        return arrays


@functools.cache
def _core() -> Any:
    """The one Core of the process, never freed.

    Each Core sets up a stack for signal handlers (sigaltstack) on the thread that compiles first, and frees it when it
    goes. Where a second Core came meanwhile, that one restores the freed stack at its own end, and the next Ctrl-C ends
    the process with a segmentation fault (seen with OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def _properties(device: str, threads: int, exact: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        # One inference at a time with all threads. Not pinned: a pinned thread waits for its core while the capture or
        # the encoder thread has it, though the other core is free; unpinned was no slower in an idle process either.
        properties |= {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    if exact:
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    return properties


def _compile(core: Any, graph: Any, device: str, properties: dict[str, Any], model: Path) -> Any:
    folder = cache_folder() / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            properties["CACHE_DIR"] = str(folder)
    except OSError:
        pass  # compiles at every start: slower, nothing else
    try:
        compiled = core.compile_model(graph, device, properties)
    except Exception as error:  # RuntimeError, or whatever its bindings make of a C++ exception
        raise _refused(model, error) from None
    trim(folder, "*.blob", _KEPT)
    return compiled


def _fix(graph: Any, file: ModelFile, batch: int) -> None:
    """Give the sizes that the file leaves open their values: the batch, the manifest's height and width."""
    shapes = {}
    for port in graph.inputs:
        count, *size = list(port.partial_shape)
        check_batch(file.path, count.get_length() if count.is_static else None, batch)
        open_size = zip(size, (file.manifest.height, file.manifest.width), strict=False)
        shapes[port] = [batch, *(n if n.is_static else known for n, known in open_size), *size[2:]]
    try:
        graph.reshape(shapes)
    except Exception as error:  # RuntimeError, or whatever its bindings make of a C++ exception
        raise _refused(file.path, error) from None


def _read(core: Any, file: ModelFile) -> Any:
    """The file as OpenVINO's graph, its functions inlined."""
    if not file.has_functions:
        try:
            return core.read_model(str(file.path))
        except Exception as error:
            raise _refused(file.path, error) from None
    cached = cache_folder() / "inlined" / f"{file.sha256[:32]}-{_INLINED}.onnx"
    try:
        return core.read_model(str(cached))
    except Exception:  # not there yet, or damaged: made again
        inlined = inline(read_bytes(file.path))
    try:
        write_aside(cached, inlined)
        trim(cached.parent, "*.onnx", _KEPT)
    except OSError as error:
        warn(f"cannot keep what OpenVINO needs: {cached} ({error.strerror}); the next start will be as slow")
    try:
        return core.read_model(inlined)
    except Exception as error:
        raise _refused(file.path, error) from None


def inline(content: bytes) -> bytes:
    """An ONNX file's bytes with every call of a function inside it replaced by the function's body.

    Raises:
        BackendError: the onnx package, which does this, is not installed.
    """
    try:
        from onnx import ModelProto, inliner
    except ImportError as error:
        raise BackendError(
            "openvino needs the onnx package for this model", error, "Install both with pip install 'edgeseg[openvino]'"
        ) from None
    model = ModelProto.FromString(content)
    inlined: bytes = inliner.inline_local_functions(model).SerializeToString()
    return inlined


def _check_device(core: Any, device: str) -> None:
    # Asking for the list loads the plugin of every device, so the usual one goes without.
    if device == "CPU":
        return
    known = core.available_devices
    if device not in known and device.partition(".")[0] not in known:
        raise BackendError("openvino finds no such device", device, f"There are {', '.join(known)}")


def _refused(model: Path, error: Exception) -> ModelError:
    return ModelError("openvino cannot load the model", f"{model} ({first_line(error)})", "Export the model again")


def _signature(ports: Any) -> Signature:
    # A tensor has all the names of those that were merged into it, "label_map" among others.
    return {name: _describe(port) for port in ports for name in port.names}


def _describe(port: Any) -> tuple[str, tuple[int | None, ...]]:
    kind = port.element_type.get_type_name()
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return _DTYPES.get(kind, kind), shape
