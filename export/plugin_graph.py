"""The graph as TensorRT's plugins want it: fused steps on int8 itself, and no function body to take instead.

Where the file upsamples its logits and takes ArgMax, one node makes the labels (`label_map`).

In a portable int8 file a step stands as Q -> DQ -> step -> Q -> DQ, with one scale all around. TensorRT passes tensors
to a plugin as they are typed, so here the two DQ in front and the Q behind go: equal scales cancel.

    Q -> DQ -> step -> Q -> DQ        becomes        Q -> step (int8) -> DQ

Its parser takes the body and not the plugin up to 10.6, and wherever the library is absent without a word. Without a
body there is nothing to take by mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeseg.export import graph as g
from edgeseg.export.fused_step import DOMAIN, is_step
from edgeseg.export.label_map import is_label_map, put_label_map

if TYPE_CHECKING:
    import onnx


def for_plugin(model: onnx.ModelProto) -> int:
    """Change a typed model in place, as the top of the file says; steps that compute in float stay so.

    Returns:
        How many of its nodes are plugins now.
    """
    put_label_map(model)
    steps = [node for node in model.graph.node if is_step(node)]
    for step in steps:
        _make_int8(model.graph, step)
    g.prune(model)
    bodies = [function for function in model.functions if function.domain != DOMAIN]
    del model.functions[:]
    model.functions.extend(bodies)
    # What was known of tensors that are int8 now, or gone.
    made = {name for step in steps for name in step.output}
    known = [value for value in model.graph.value_info if value.name not in made]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    return sum(is_step(node) or is_label_map(node) for node in model.graph.node)


def _make_int8(graph: onnx.GraphProto, step: onnx.NodeProto) -> None:
    makers, readers = g.producers(graph), g.consumers(graph).get(step.output[0], [])
    before = [makers.get(name) for name in step.input]
    outputs = {value.name for value in graph.output}
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or step.output[0] in outputs:
        return
    if any(node is None or node.op_type != "DequantizeLinear" for node in before):
        return
    behind = readers[0]
    pairs = [node for node in (*before, behind) if node is not None]
    if not _alike(graph, pairs):
        return
    step.input[:] = [node.input[0] for node in before if node is not None]
    step.output[:] = list(behind.output)
    graph.node.remove(behind)


def _alike(graph: onnx.GraphProto, pairs: list[onnx.NodeProto]) -> bool:
    """True where all have one scale and no offset, so that integers mean the same everywhere."""
    known = g.weights(graph)
    if any(name not in known for node in pairs for name in node.input[1:]):
        return False
    scales = [g.array(known[node.input[1]]) for node in pairs]
    offsets = [g.array(known[name]) for node in pairs for name in node.input[2:]]
    same = all(scale.shape == () and np.array_equal(scale, scales[0]) for scale in scales)
    return same and all(offset.dtype == np.int8 and not offset.any() for offset in offsets)
