"""What a model file or an engine takes and gives: names, data types and shapes, for runtimes that want to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.manifest import PREVIOUS, Manifest

# ONNX Runtime's names of what model files hold.
_KINDS = {
    "tensor(uint8)": "UINT8",
    "tensor(int8)": "INT8",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Attributes:
        name: as the file names it.
        kind: its data type as Triton writes it behind TYPE_: "UINT8", "INT32", "FP32".
        shape: with the batch in front; -1 where a dimension is free.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def file_tensors(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of an ONNX file as ONNX Runtime sees them, and with it Triton's backend.

    Raises:
        ModelError: ONNX Runtime does not load it.
    """
    import onnxruntime

    from edgeseg.runtime.backends.model_file import corrupt

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise corrupt(path, str(error).splitlines()[0]) from None

    def listed(items: Sequence[Any]) -> tuple[Tensor, ...]:
        return tuple(Tensor(item.name, _KINDS[item.type], tuple(map(_size, item.shape))) for item in items)

    return listed(session.get_inputs()), listed(session.get_outputs())


def engine_tensors(manifest: Manifest) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of an engine, by the contract of the model file; the batch counts as free."""
    rows, columns = manifest.output_height, manifest.output_width
    many, classes = manifest.max_detections, len(manifest.classes)
    known: dict[str, tuple[str, tuple[int, ...]]] = {
        "label_map": ("UINT8", (rows, columns)),
        "probability": ("UINT8", (rows, columns)),
        "logits": ("FP32", (1 if manifest.two_class else classes, rows, columns)),
        "boxes": ("FP32", (many, 4)),
        "scores": ("FP32", (many,)),
        "classes": ("INT32", (many,)),
        "masks": ("FP32", (many, 28, 28)),
    }
    image = Tensor("image", "UINT8", (-1, manifest.height, manifest.width, 3))
    before = Tensor(PREVIOUS, "UINT8", (-1, manifest.height, manifest.width))
    outputs = tuple(Tensor(name, known[name][0], (-1, *known[name][1])) for name in manifest.outputs)
    return (image, before) if manifest.memory else (image,), outputs


def _size(dimension: object) -> int:
    return dimension if isinstance(dimension, int) else -1
