"""Upsampled logits and ArgMax as one plugin node, `edgeseg::LabelMap`, or cut off, for a kernel behind the engine.

    logits -> Resize by s -> [Slice] -> ArgMax -> Cast -> Cast         as exported, casts of half precision left out
    logits -> LabelMap(scale = s) -> [Slice] -> Cast                   inside an engine, by the plugin
    logits                                                             an engine's end; `label_map_op` does the rest

The second form is for libraries without plugins, TensorRT-RTX among them. Files whose logits leave as an output, too,
or that make them in another way (a sub-pixel head, two classes with a probability) stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import ModelError
from edgeseg.export import graph as g
from edgeseg.export.fused_step import DOMAIN, PLUGIN

if TYPE_CHECKING:
    import onnx

OP_TYPE = "LabelMap"
MOST_SCALE = 1024  # kMaxScale of cpp_ext/kernels


@dataclass(frozen=True, slots=True)
class Ending:
    """How a file gets from its low-resolution logits to labels.

    Attributes:
        logits: the tensor [N, C, h, w].
        scale: integer upsampling factor, bilinear with half-pixel centres.
        cut: (top, left, bottom, right), rows and columns of the upsampled map that are kept; None for all of it.
    """

    logits: str
    scale: int
    cut: tuple[int, int, int, int] | None


def is_label_map(node: onnx.NodeProto) -> bool:
    """True for an `edgeseg::LabelMap` node."""
    return bool(node.domain == DOMAIN and node.op_type == OP_TYPE)


def find_ending(graph: onnx.GraphProto) -> Ending | None:
    """What leads to the output `label_map`; None where it is not the chain at the top of the file."""
    from onnx import TensorProto

    last = _behind(graph, "label_map", "Cast")
    label = _behind(graph, last.input[0], "Cast") if last else None
    best = _behind(graph, label.input[0], "ArgMax") if label else None
    if best is None or not _is_over_channels(best):
        return None
    name, cut = best.input[0], None
    while (node := _behind(graph, name, "Slice", "Cast")) is not None:
        if node.op_type == "Slice" and (cut is not None or (cut := _cut(graph, node)) is None):
            return None
        if node.op_type == "Cast" and g.attribute(node, "to") not in (TensorProto.FLOAT, TensorProto.FLOAT16):
            return None
        name = node.input[0]
    resize = _behind(graph, name, "Resize")
    scale = _scale(graph, resize) if resize else None
    return Ending(resize.input[0], scale, cut) if resize and scale else None


def put_label_map(model: onnx.ModelProto) -> None:
    """Let the plugin's node make the labels, in place; a file without that ending stays as it is."""
    from onnx import TensorProto, helper

    graph = model.graph
    ending = find_ending(graph)
    if ending is None:
        return
    graph.node.remove(g.producers(graph)["label_map"])
    labels = "labels.map"
    node = helper.make_node(OP_TYPE, [ending.logits], [labels], labels, domain=DOMAIN, scale=ending.scale, **PLUGIN)
    graph.node.append(node)
    if ending.cut is not None:
        top, left, bottom, right = ending.cut
        bounds = (("start", (top, left)), ("end", (bottom, right)), ("axes", (1, 2)))
        places = [g.put(graph, f"labels.map_{part}", np.array(values, np.int64)) for part, values in bounds]
        graph.node.append(helper.make_node("Slice", [labels, *places], ["labels.map_cut"], "labels.map_cut"))
        labels = "labels.map_cut"
    # Ids come in the logits' type, float or half; TensorRT casts both to bytes.
    graph.node.append(helper.make_node("Cast", [labels], ["label_map"], "labels.label_map", to=TensorProto.UINT8))
    if not any(item.domain == DOMAIN for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    g.prune(model)


def end_at_logits(model: onnx.ModelProto) -> Ending:
    """Cut a file by `edgeseg export` off behind its low-resolution logits, in place: they are its one output, `logits`.

    Returns:
        The rest of the way, which `label_map_op.label_map` goes; its `logits` is the output's name now.

    Raises:
        ModelError: the file has no such ending.
    """
    import onnx
    from onnx import helper

    graph = model.graph
    ending = find_ending(graph)
    if ending is None:
        todo = "Take a semantic model that upsamples its logits by a whole number, such as deeplabv3plus_*"
        raise ModelError("the file does not end in logits, upsampling and ArgMax", graph.name, todo)
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    value = next((item for item in known if item.name == ending.logits), None)
    if value is None:
        raise ModelError("the shape of the logits cannot be told", ending.logits, "Export the model again")
    kind = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim]
    g.rename_tensor(graph, ending.logits, "logits")
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", kind.elem_type, shape))
    g.prune(model)
    return Ending("logits", ending.scale, ending.cut)


def _behind(graph: onnx.GraphProto, name: str, *kinds: str) -> onnx.NodeProto | None:
    """The node of one of those kinds that makes a tensor, where at most one other reads it, and the caller has not."""
    node = g.producers(graph).get(name)
    shared = len(g.consumers(graph).get(name, [])) > (0 if name == "label_map" else 1)
    outside = name != "label_map" and name in {value.name for value in graph.output}
    return None if node is None or node.op_type not in kinds or shared or outside else node


def _is_over_channels(node: onnx.NodeProto) -> bool:
    options = (
        g.attribute(node, "axis", 0),
        g.attribute(node, "keepdims", 1),
        g.attribute(node, "select_last_index", 0),
    )
    return options == (1, 0, 0)


def _cut(graph: onnx.GraphProto, node: onnx.NodeProto) -> tuple[int, int, int, int] | None:
    """Of a Slice by known numbers over rows and columns alone."""
    known = g.weights(graph)
    if len(node.input) != 4 or any(name not in known for name in node.input[1:]):
        return None
    start, end, axes = (g.array(known[name]).tolist() for name in node.input[1:])
    if axes != [2, 3] or min(*start, *end) < 0:
        return None
    return start[0], start[1], end[0], end[1]


def _scale(graph: onnx.GraphProto, resize: onnx.NodeProto) -> int | None:
    """The whole number by which a bilinear Resize with half-pixel centres enlarges rows and columns, else None."""
    known = g.weights(graph)
    plain = (
        g.attribute(resize, "mode") == b"linear"
        and g.attribute(resize, "coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
        and not g.attribute(resize, "exclude_outside", 0)
        and g.attribute(resize, "axes") is None
    )
    if not plain or len(resize.input) != 3 or resize.input[2] not in known:
        return None
    scales = g.array(known[resize.input[2]]).tolist()
    whole = len(scales) == 4 and scales[:2] == [1, 1] and scales[2] == scales[3] == int(scales[2])
    return int(scales[2]) if whole and 1 <= scales[2] <= MOST_SCALE else None
