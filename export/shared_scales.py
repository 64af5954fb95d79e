"""Which int8 tensors share one scale: those around a fused step, a concatenation and, where asked for, a residual sum.

Values that only move from one tensor to another stay what they are where both have one scale; where scales differ, a
runtime rounds them a second time on the way. Counted in the graphs that OpenVINO executes on a CPU, for a small network
on MobileNetV2 (tests/export/test_shared_scales.py):

- concatenations (`concat`, the default): each input with a pair of its own costs one pass over the map, which goes. An
  input without one has none to lose, since OpenVINO moves the pair behind the concatenation in front of it.
- residual sums (`residual`): nothing goes. The sum and its rounding run inside the convolution before it, with any two
  scales, and the map that is added has one pair for all its readers. The wider range only makes rounding coarser, so
  this is off; it is for runtimes that add int8 to int8.

ONNX Runtime on x86 runs these files in float, each pair as it stands, and gains nothing from either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from edgeseg.errors import UsageError, nearest
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

KINDS = ("concat", "residual")
DEFAULT = ("concat",)
# What gives on the values that it takes, and no others.
_MOVES = ("Slice", "Reshape", "Transpose", "Expand", "MaxPool", "Identity")
_ACTIVATIONS = ("Relu", "Clip")


def check_kinds(kinds: Collection[str]) -> None:
    """UsageError for a kind that is not in `KINDS`."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError("unknown kind of shared scales", kind, nearest(kind, KINDS))


def leaders(
    graph: onnx.GraphProto,
    tensors: Collection[str],
    steps: Iterable[onnx.NodeProto],
    unify: Collection[str] = DEFAULT,
) -> dict[str, str]:
    """For each tensor the one whose scale it takes.

    Args:
        graph: in float, without pairs.
        tensors: those that become int8.
        steps: the fused steps that do; all their tensors are among `tensors`.
        unify: of `KINDS`, see the top of the file.
    """
    parent = {tensor: tensor for tensor in tensors}

    def find(tensor: str) -> str:
        while parent[tensor] != tensor:
            tensor = parent[tensor]
        return tensor

    for step in steps:
        for other in (*step.input, *step.output):
            parent[find(other)] = find(step.input[0])
    made, readers = g.producers(graph), g.consumers(graph)
    for node in graph.node:
        result = node.output[0] if node.output else ""
        if node.op_type == "Concat" and "concat" in unify and g.attribute(node, "axis") == 1:
            sources = [_source(name, tensors, made) for name in node.input]
        elif node.op_type == "Add" and "residual" in unify:
            sources, result = list(node.input), _activated(result, tensors, readers)
        else:
            continue
        for name in sources:
            if result in parent and name in parent:
                parent[find(name)] = find(result)
    return {tensor: find(tensor) for tensor in tensors}


def _source(name: str, tensors: Collection[str], made: dict[str, onnx.NodeProto]) -> str:
    """The tensor that becomes int8 and whose values `name` holds, moved at most; `name` itself where there is none."""
    found = name
    while found not in tensors:
        node = made.get(found)
        if node is None or node.op_type not in _MOVES:
            return name
        found = node.input[0]
    return found


def _activated(name: str, tensors: Collection[str], readers: dict[str, list[onnx.NodeProto]]) -> str:
    """A sum, or what the activation function behind it gives."""
    if name not in tensors and len(readers.get(name, ())) == 1 and readers[name][0].op_type in _ACTIVATIONS:
        return str(readers[name][0].output[0])
    return name
