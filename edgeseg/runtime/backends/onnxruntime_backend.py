"""ONNX Runtime on the CPU. It runs the file as it is, the functions inside included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeseg.errors import BackendError, ModelError
from edgeseg.runtime.backends.base import (
    BATCH,
    HEIGHT,
    WIDTH,
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
from edgeseg.runtime.backends.model_file import corrupt, read_model_file

_FATAL = 4  # severity from which ONNX Runtime logs; what fails is raised as well
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32", "tensor(int64)": "int64"}


class OnnxRuntimeBackend(Backend):
    """See `Backend`; `device` is None or "CPU"."""

    name = "onnxruntime"

    def __init__(self, model: Path, device: str | None = None, threads: int | None = None, batch: int = 1) -> None:
        if device not in (None, "CPU"):
            raise BackendError("onnxruntime has no such device here", device, "Leave the device out or give CPU")
        file = read_model_file(model)
        threads = threads or default_threads()
        with silence():
            import onnxruntime

            sizes = {BATCH: batch, HEIGHT: file.manifest.height, WIDTH: file.manifest.width}
            self._session: Any = _open(onnxruntime, model, threads, sizes)
        self.device, self.manifest = "CPU", file.manifest
        self.details = {"version": onnxruntime.__version__, "threads": threads, "inference_precision": "float32"}
        self._inputs = _signature(self._session.get_inputs())
        check_signature(model, file.manifest, self._inputs, _signature(self._session.get_outputs()))
        check_batch(model, self._inputs["image"][1][0], batch)
        self._outputs = list(file.manifest.outputs)

    def infer(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """See `Backend.infer`."""
        if self._session is None:
            raise ModelError("the backend is closed", self.manifest.name, "Load the model again")
        check_inputs(inputs, self._inputs)
        values = self._session.run(self._outputs, {name: as_input(array) for name, array in inputs.items()})
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """See `Backend.close`."""
        self._session = None


def _open(onnxruntime: Any, model: Path, threads: int, sizes: Mapping[str, int]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between two layers the pool's threads spin: asleep, they would be woken a hundred times an inference, which made
    # it a third slower on two cores. But by default they go on spinning after it, on the cores that the pipeline's
    # other threads (capture, resize, encoding) want then; so they stop with the run, which cost nothing measurable.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Shapes known at load time let it compute the sizes inside function bodies once.
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        if type(error).__name__ == "InvalidProtobuf":
            raise corrupt(model, "damaged inside") from None
        seen = f"{model} ({first_line(error)})"
        raise ModelError("onnxruntime cannot load the model", seen, "Export the model again") from None


def _signature(tensors: Any) -> Signature:
    """Dtype and shape by name; names of dimensions, which are sizes that vary, become None."""
    return {
        tensor.name: (
            _DTYPES.get(tensor.type, tensor.type),
            tuple(size if isinstance(size, int) else None for size in tensor.shape),
        )
        for tensor in tensors
    }
