"""What `verify` compares: one file on each runtime that takes it here, behind the runtime's own signature.

A checkpoint runs in torch. An ONNX file runs in ONNX Runtime, in OpenVINO where that is installed, and, where wanted,
in ONNX's own reference evaluator, which is slow and written for nothing but being right. Semantic files also give the
logits that their labels are made of. An engine runs in the library that built it, and gives what it was built to give.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.calib.model_file import read_model
from edgeseg.errors import BackendError, ModelError, OutputError
from edgeseg.export.from_checkpoint import CHECKPOINT_SUFFIXES, load_for_export
from edgeseg.export.instances import fitted
from edgeseg.manifest import ENGINE_SUFFIX, METADATA_KEY, Manifest
from edgeseg.runtime.backends import installed, load_backend
from edgeseg.runtime.backends.base import Backend, first_inputs
from edgeseg.runtime.backends.engine_file import EngineMisfit, read_engine_file
from edgeseg.runtime.backends.model_file import read_model_file

# The nodes whose input is what labels are made of.
_LABELS = ("labels.sigmoid", "labels.argmax")


@dataclass(frozen=True, slots=True)
class Stage:
    """One file on one runtime.

    Attributes:
        file: the file's name.
        runtime: "torch", a backend's name, or "reference evaluator".
        backend: runs it.
        logits: name of the output that has the logits; "" for instance models.
    """

    file: str
    runtime: str
    backend: Any
    logits: str

    @property
    def manifest(self) -> Manifest:
        """The file's contract."""
        manifest: Manifest = self.backend.manifest
        return manifest

    def infer(self, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """All outputs for `image` uint8 [1, H, W, 3], as new arrays, with nothing before it."""
        found = self.backend.infer(first_inputs(self.manifest, image))
        return {name: value.copy() for name, value in found.items()}


@contextmanager
def open_stages(path: Path, evaluator: bool = False) -> Iterator[list[Stage]]:
    """A file on every runtime that takes it; closed at the end.

    Args:
        path: a checkpoint, an ONNX file or an engine.
        evaluator: ONNX files by ONNX's reference evaluator too.

    Raises:
        InputError, ModelError: the file cannot be read, is none of edgeseg's, or an engine does not fit.
        BackendError: an engine's library is not installed, or finds no GPU or too little memory on it.
    """
    with ExitStack() as stack:
        if path.suffix == ENGINE_SUFFIX:
            engine = stack.enter_context(_engine(path))
            yield [Stage(path.name, engine.name, engine, "logits" if "logits" in engine.manifest.outputs else "")]
            return
        if path.suffix in CHECKPOINT_SUFFIXES:
            backend = TorchBackend(path)
            yield [Stage(path.name, "torch", backend, "" if backend.manifest.task == "instance" else "logits")]
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        opened, name = with_logits(path, folder / path.name)
        stages = [
            Stage(path.name, runtime, stack.enter_context(_exact(opened, runtime)), name)
            for runtime in installed()
            if runtime in ("onnxruntime", "openvino")
        ]
        if evaluator:
            stages.append(Stage(path.name, "reference evaluator", EvaluatorBackend(opened), name))
        yield stages


def _exact(path: Path, runtime: str) -> Backend:
    """What differs between runtimes is to be the graph's doing, and not that one of them computes in bfloat16."""
    if runtime == "openvino":
        from edgeseg.runtime.backends.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(path, exact=True)
    return load_backend(path, runtime)


def _engine(path: Path) -> Backend:
    """Loaded by the library that built it; errors say what this command has to offer."""
    try:
        library = read_engine_file(path).library
        return load_backend(path, library)
    except EngineMisfit as error:
        raise ModelError(error.cause, error.seen, f"Run {error.engine.rebuild_command()}") from None
    except BackendError as error:
        if not error.cause.endswith("finds no GPU"):
            raise
        todo = "Compare it on the device that it is for; a CPU compares the ONNX file that it was built from"
        raise BackendError(error.cause, f"{path} ({error.seen})", todo) from None


def with_logits(path: Path, out: Path) -> tuple[Path, str]:
    """A copy of an ONNX file that gives its logits too, at `out`, and their name; the file itself where it has none."""
    import onnx

    model, manifest = read_model(path)
    name = next((node.input[0] for node in model.graph.node if node.name in _LABELS), "")
    if not name:
        return path, ""
    if name not in manifest.outputs:
        shape = ["N", None, None, None]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    outputs = tuple(dict.fromkeys((*manifest.outputs, name)))
    onnx.helper.set_model_props(model, {METADATA_KEY: dataclasses.replace(manifest, outputs=outputs).to_json()})
    try:
        out.write_bytes(model.SerializeToString())
    except OSError as error:
        todo = "Make room, or name another folder in TMPDIR"
        raise OutputError("cannot write a copy of the model", f"{out} ({error.strerror})", todo) from None
    return out, name


def manifest_of_file(path: Path) -> Manifest:
    """Of a checkpoint, an ONNX file or an engine; errors as `open_stages`."""
    if path.suffix == ENGINE_SUFFIX:
        return read_model_file(path).manifest
    return load_for_export(path)[1] if path.suffix in CHECKPOINT_SUFFIXES else read_model(path)[1]


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TorchBackend(Backend):
    """A checkpoint in torch, with the outputs of the file that would be exported."""

    name, device = "torch", "CPU"

    def __init__(self, path: Path) -> None:
        self.model, manifest = load_for_export(path)
        self.manifest = fitted(self.model, manifest) if manifest.task == "instance" else manifest
        self.details: dict[str, Any] = {}

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See `Backend.infer`."""
        from edgeseg.export.check import run_torch

        return run_torch(self.model, inputs, self.manifest)

    def close(self) -> None:
        """Nothing to free."""


class EvaluatorBackend(Backend):
    """An ONNX file in the reference evaluator of the onnx package."""

    name, device = "reference evaluator", "CPU"

    def __init__(self, path: Path) -> None:
        from onnx.reference import ReferenceEvaluator

        model, self.manifest = read_model(path)
        self.details: dict[str, Any] = {}
        self._outputs = [item.name for item in model.graph.output]
        self._evaluator: Any = ReferenceEvaluator(model)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """See `Backend.infer`."""
        return dict(zip(self._outputs, self._evaluator.run(self._outputs, dict(inputs)), strict=True))

    def close(self) -> None:
        """Nothing to free."""


def full_size(logits: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Logits [1, C, h, w] as [channels, H, W]; a sub-pixel head still gives blocks of r x r, C = channels r^2."""
    _, deep, height, width = logits.shape
    block = round((deep / channels) ** 0.5)
    spread = logits.reshape(channels, block, block, height, width).transpose(0, 3, 1, 4, 2)
    whole: npt.NDArray[np.float32] = spread.reshape(channels, height * block, width * block)
    return whole
