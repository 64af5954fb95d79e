"""Small helpers on ONNX graphs: look-ups, weights as arrays, padding folded into convolutions, dead parts removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx


def weights(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def array(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    """An initializer's values, its own dtype and shape."""
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))


def put(graph: onnx.GraphProto, name: str, value: npt.NDArray[Any] | np.generic) -> str:
    """Add the initializer `name`, or overwrite it; returns the name."""
    from onnx import numpy_helper

    fresh = numpy_helper.from_array(np.asarray(value), name)
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(fresh)
            return name
    graph.initializer.append(fresh)
    return name


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor, by the tensor's name."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, by the tensor's name."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, `default` where it is not set."""
    from onnx import helper

    for item in node.attribute:
        if item.name == name:
            return helper.get_attribute_value(item)
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set a node's attribute, replacing an older value."""
    from onnx import helper

    for index, item in enumerate(node.attribute):
        if item.name == name:
            del node.attribute[index]
            break
    node.attribute.append(helper.make_attribute(name, value))


def replace_input(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Let `nodes` read `new` wherever they read `old`."""
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]


def rename_tensor(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call the tensor `old` `new` wherever a node makes or reads it."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def fold_pads(graph: onnx.GraphProto) -> None:
    """Move zero padding into the `pads` of the convolutions behind it, where it is exact; repeat until none is left."""
    while any(_fold_pad(graph, node) for node in list(graph.node) if node.op_type == "Pad"):
        pass


def _fold_pad(graph: onnx.GraphProto, pad: onnx.NodeProto) -> bool:
    readers = consumers(graph).get(pad.output[0], [])
    amounts = _zero_padding(graph, pad)
    foldable = all(
        node.op_type == "Conv" and node.input[0] == pad.output[0] and attribute(node, "auto_pad") in (None, b"NOTSET")
        for node in readers
    )
    if amounts is None or not readers or not foldable or pad.output[0] in {value.name for value in graph.output}:
        return False
    top, left, bottom, right = amounts
    for conv in readers:
        old = attribute(conv, "pads", [0, 0, 0, 0])
        set_attribute(conv, "pads", [old[0] + top, old[1] + left, old[2] + bottom, old[3] + right])
    replace_input(readers, pad.output[0], pad.input[0])
    graph.node.remove(pad)
    return True


def _zero_padding(graph: onnx.GraphProto, pad: onnx.NodeProto) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right) of a node that pads rows and columns with zeros, else None."""
    known = weights(graph)
    inputs = [*pad.input, "", ""]
    if attribute(pad, "mode", b"constant") != b"constant" or inputs[3] or inputs[1] not in known:
        return None
    if inputs[2] and (inputs[2] not in known or np.any(array(known[inputs[2]]) != 0)):
        return None
    amounts = [int(value) for value in array(known[inputs[1]])]
    if len(amounts) != 8 or any(amounts[i] for i in (0, 1, 4, 5)) or min(amounts) < 0:
        return None
    return amounts[2], amounts[3], amounts[6], amounts[7]


def prune(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output depends on, and functions that no node calls."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    called = {(node.domain, node.op_type) for node in graph.node}
    functions = [function for function in model.functions if (function.domain, function.name) in called]
    del model.functions[:]
    model.functions.extend(functions)
    domains = {node.domain for node in graph.node} | {""}
    opsets = [opset for opset in model.opset_import if opset.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
