"""Half precision: the typed graph says what the float one says, and floats stay where they are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from export_helpers import Exported, run_onnxruntime, run_reference

from edgeseg.calib.model_file import read_model
from edgeseg.errors import ModelError, UsageError
from edgeseg.export import graph as g
from edgeseg.export.half import to_half

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def run_as_written(model: onnx.ModelProto, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """By ONNX Runtime without its optimizations, which lose digits of half scales (seen with 1.31)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Type of each tensor that a node makes."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {item.name: item.type.tensor_type.elem_type for item in (*inferred.value_info, *inferred.output)}


def test_the_network_is_half_and_both_ends_are_float(person: Exported, pictures: npt.NDArray[np.uint8]) -> None:
    model, _ = read_model(person.path)
    feeds = {"image": pictures}
    exact = run_onnxruntime(model, feeds)
    to_half(model)
    types = kinds(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions and all(types[node.output[0]] == HALF for node in convolutions)
    assert types["camera.centre"] == FLOAT and types["labels.levels"] == FLOAT
    assert all(
        item.data_type != FLOAT or item.name.startswith(("camera.", "labels.")) for item in model.graph.initializer
    )
    for run in (run_as_written, run_reference):
        given = run(model, feeds)
        assert (given["label_map"] == exact["label_map"]).mean() > 0.995
        assert np.abs(given["probability"].astype(int) - exact["probability"]).mean() < 1.0


def test_an_int8_file_gets_half_scales_and_biases(int8: Path, pictures: npt.NDArray[np.uint8]) -> None:
    model, _ = read_model(int8)
    feeds = {"image": pictures}
    exact = run_reference(model, feeds)
    to_half(model)
    known = g.weights(model.graph)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert known[node.input[1]].data_type == HALF, node.name
    # Nothing stands between a pair and the layer that reads it, the first one included.
    makers = g.producers(model.graph)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert makers[node.input[0]].op_type == "DequantizeLinear", node.name
    given = run_as_written(model, feeds)
    assert (given["label_map"] == exact["label_map"]).mean() > 0.97


def test_named_nodes_stay_in_float_between_casts(person: Exported, pictures: npt.NDArray[np.uint8]) -> None:
    model, _ = read_model(person.path)
    exact = run_onnxruntime(model, {"image": pictures})
    name = "encoder.stages.2.0.expand.0"
    to_half(model, [name])
    types = kinds(model)
    node = next(node for node in model.graph.node if node.name == name)
    assert types[node.output[0]] == FLOAT and types[node.input[0]] == FLOAT
    assert next(item for item in model.graph.initializer if item.name == node.input[1]).data_type == FLOAT
    given = run_as_written(model, {"image": pictures})
    assert (given["label_map"] == exact["label_map"]).mean() > 0.995


def test_what_cannot_be_half(person: Exported, tiny_model: Path) -> None:
    model, _ = read_model(person.path)
    with pytest.raises(UsageError, match="no node of that name: head2"):
        to_half(model, ["head2"])
    weight = next(node for node in model.graph.node if node.name == "head").input[1]
    g.put(model.graph, weight, g.array(g.weights(model.graph)[weight]) * np.float32(1e6))
    with pytest.raises(ModelError, match=r"too large for float16: head\.weight"):
        to_half(model)
    with pytest.raises(ModelError, match="only semantic models"):
        to_half(onnx.load(tiny_model))
