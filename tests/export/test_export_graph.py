"""Padding moves into convolutions only where that changes nothing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from export_helpers import run_onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeseg.export import graph as g


def make_model(
    pads: list[int], mode: str = "constant", value: float | None = None, kind: str = "Conv"
) -> onnx.ModelProto:
    """x [1, 2, 6, 7] -> Pad -> Conv 3x3 (or MaxPool) -> y."""
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
    inputs = ["x", "pads"] + (["value"] if value is not None else [])
    nodes = [helper.make_node("Pad", inputs, ["padded"], mode=mode)]
    if kind == "Conv":
        nodes.append(helper.make_node("Conv", ["padded", "weight"], ["y"], pads=[0, 1, 0, 1], strides=[2, 2]))
    else:
        nodes.append(helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3]))
    tensors = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(pads, np.int64), "pads")]
    if value is not None:
        tensors.append(numpy_helper.from_array(np.array(value, np.float32), "value"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 7])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "padding", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


CASES = {
    "zeros": ([0, 0, 1, 2, 0, 0, 3, 0], "constant", None, "Conv", True),
    "zeros, said so": ([0, 0, 0, 0, 0, 0, 1, 1], "constant", 0.0, "Conv", True),
    "ones": ([0, 0, 1, 1, 0, 0, 1, 1], "constant", 1.0, "Conv", False),
    "mirrored": ([0, 0, 1, 1, 0, 0, 1, 1], "reflect", None, "Conv", False),
    "cut": ([0, 0, -1, 0, 0, 0, 0, 0], "constant", None, "Conv", False),
    "before a pooling": ([0, 0, 1, 1, 0, 0, 1, 1], "constant", None, "MaxPool", False),
}


@pytest.mark.parametrize("case", CASES)
def test_pads_fold_where_exact(case: str) -> None:
    pads, mode, value, kind, folds = CASES[case]
    model = make_model(pads, mode, value, kind)
    x = {"x": np.random.default_rng(1).standard_normal((1, 2, 6, 7)).astype(np.float32)}
    before = run_onnxruntime(model, x)["y"]
    g.fold_pads(model.graph)
    assert any(node.op_type == "Pad" for node in model.graph.node) is not folds
    np.testing.assert_allclose(run_onnxruntime(model, x)["y"], before, atol=1e-5)


def test_prune_keeps_what_outputs_need() -> None:
    model = make_model([0, 0, 0, 0, 0, 0, 1, 1])
    model.graph.node.append(helper.make_node("Relu", ["y"], ["unused"]))
    model.opset_import.append(helper.make_opsetid("nowhere", 1))
    g.fold_pads(model.graph)
    g.prune(model)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert [tensor.name for tensor in model.graph.initializer] == ["weight"]
    assert [item.domain for item in model.opset_import] == [""]
