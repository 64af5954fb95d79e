"""A float or Q/DQ file typed for half precision: what a strongly typed engine computes in is what the graph says.

    camera (float) -> Cast -> network in float16, half scales, half biases -> Cast -> labels (float)

Nobody casts in a strongly typed network: with float scales all that is not int8 runs in FP32. The camera's bytes and
the labels' 255 levels stay in float, and so do layers that are named.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import ModelError, UsageError, nearest
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

# Sizes are worked out by these; their floats are no maps.
_ARITHMETIC = ("Cast", "Constant", "ConstantOfShape", "Range", "Shape", "Size")
# Inputs that are float32 whatever the others are: Resize's region and scales.
_FLOAT_INPUTS = {"Resize": (1, 2)}
_OUTSIDE = ("camera.", "labels.")
_PAIRS = ("QuantizeLinear", "DequantizeLinear")
LARGEST = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto, keep_float: Collection[str] = ()) -> None:
    """Retype the network inside a semantic file in place.

    Args:
        model: a file by `edgeseg export` or `edgeseg quantize`.
        keep_float: names of nodes that stay in float32, between casts.

    Raises:
        UsageError: a name in `keep_float` that is no node.
        ModelError: a weight is too large for float16, or the file is no semantic one.
    """
    import onnx

    graph = model.graph
    names = [node.name for node in graph.node]
    for name in keep_float:
        if name not in names:
            raise UsageError("no node of that name", name, nearest(name, names))
    if not any(name.startswith(_OUTSIDE[1]) for name in names):
        raise ModelError("only semantic models are built in half precision", graph.name, "Build its fp32 file in fp32")
    floats = _float_tensors(model)
    inside = [
        # The pair on the picture is named after the camera, but belongs to the first convolution.
        (not node.name.startswith(_OUTSIDE) or node.op_type in _PAIRS)
        and node.op_type not in _ARITHMETIC
        and node.name not in keep_float
        for node in graph.node
    ]
    halves = {
        name
        for node, chosen in zip(graph.node, inside, strict=True)
        for name in node.output
        if chosen and name in floats
    }
    known, made, nodes = g.weights(graph), set(), []

    def read(name: str, half: bool) -> str:
        """The tensor's name in the wanted type; a weight's copy or a cast is made where there is none yet."""
        if name not in floats or (name in halves) == half:
            return name
        copy = f"{name}.half" if half else f"{name}.float32"
        if copy in made:
            return copy
        made.add(copy)
        if name in known:
            g.put(graph, copy, _as_half(name, g.array(known[name])))
        else:
            kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
            nodes.append(onnx.helper.make_node("Cast", [name], [copy], name=copy, to=kind))
        return copy

    for node, half in zip(list(graph.node), inside, strict=True):
        own = onnx.NodeProto.FromString(node.SerializeToString())
        fixed = _FLOAT_INPUTS.get(node.op_type, ())
        own.input[:] = [read(name, half and place not in fixed) for place, name in enumerate(node.input)]
        nodes.append(own)
    _give_back(graph, halves, nodes)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    g.prune(model)
    onnx.checker.check_model(model, full_check=True)


def _give_back(graph: onnx.GraphProto, halves: Collection[str], nodes: list[onnx.NodeProto]) -> None:
    """Outputs of the graph that are maps of the network, such as logits, stay in float."""
    from onnx import TensorProto, helper

    for output in graph.output:
        if output.name in halves:
            inner = f"{output.name}.half"
            for node in nodes:
                for tensors in (node.input, node.output):
                    tensors[:] = [inner if name == output.name else name for name in tensors]
            nodes.append(
                helper.make_node("Cast", [inner], [output.name], name=f"{output.name}.cast", to=TensorProto.FLOAT)
            )


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors: weights, and what nodes make."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {item.name: item.type.tensor_type.elem_type for item in (*inferred.value_info, *inferred.output)}
    unknown = [name for node in model.graph.node for name in node.output if name not in values]
    if unknown:
        raise ModelError("the type of a tensor cannot be told", unknown[0], "Export the model again")
    floats = {name for name, kind in values.items() if kind == onnx.TensorProto.FLOAT}
    weights = {item.name for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
    return floats | weights


def _as_half(name: str, values: np.ndarray) -> np.ndarray:
    if values.size and float(np.abs(values).max()) > LARGEST:
        todo = "Name its layer among those that stay in float"
        raise ModelError("a weight is too large for float16", f"{name} ({np.abs(values).max():.3g})", todo)
    return values.astype(np.float16)
