"""The decoder's fused step in ONNX: a function body of standard operators for `edgeseg::UpsampleCropConcat`.

Every runtime can run the body; TensorRT takes the plugin of the same name instead. The body holds no sizes, so it is
right for any input shape:

    shape of deep --> x scale --> Resize(deep) = up            Shape(up), Shape(skip) --> offset = (skip - up) / 2
    [Slice(skip, offset, offset + size of up), up] --> Concat on channels

Where there is nothing to cut, Slice runs to the largest integer instead: ONNX Runtime removes such a Slice once N is
fixed, and any other would copy the whole skip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import ModelError
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

DOMAIN = "edgeseg"
OP_TYPE = "UpsampleCropConcat"
OPSET = 19
# On the node, not in the function: TensorRT from 10.15 on takes a registered plugin only if the node names it.
PLUGIN = {"plugin_namespace": "edgeseg", "plugin_version": "1"}
# (mode, coordinate_transformation_mode, nearest_mode) of Resize; nearest as torch rounds: index floor(i / scale).
_RESIZE = {"bilinear": ("linear", "half_pixel", "floor"), "nearest": ("nearest", "asymmetric", "floor")}


def function(mode: str = "bilinear") -> onnx.FunctionProto:
    """The function `edgeseg::UpsampleCropConcat(deep, skip)` for one upsampling mode.

    Inputs are float tensors deep [N, Cd, Hd, Wd] and skip [N, Cs, Hs, Ws]; the output is [N, Cs + Cd, s * Hd, s * Wd]
    with s the attribute `scale`. A skip smaller than the upsampled map fails in Concat. An attribute can only stand
    for another attribute of the same value, and Resize says "linear" where the contract says "bilinear": so the
    body is written for one `mode`, and the attribute of that name is declared for the plugin's sake.
    """
    from onnx import AttributeProto, TensorProto, helper

    if mode not in _RESIZE:
        raise ModelError("unknown mode of the fused step", mode, f"Use one of {', '.join(_RESIZE)}")
    resize, coordinates, rounding = _RESIZE[mode]
    scale = helper.make_node("Constant", [], ["scale"])
    scale.attribute.append(AttributeProto(name="value_int", ref_attr_name="scale", type=AttributeProto.INT))
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    ones = helper.make_tensor("ones", TensorProto.FLOAT, [2], [1.0, 1.0])
    none = helper.make_tensor("none", TensorProto.INT64, [1], [0])
    open_end = helper.make_tensor("open", TensorProto.INT64, [1], [2**63 - 1])
    two = helper.make_tensor("two", TensorProto.INT64, [1], [2])
    nodes = [
        scale,
        helper.make_node("Cast", ["scale"], ["scale_float"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["ones"], value=ones),
        helper.make_node("Mul", ["ones", "scale_float"], ["scale_hw"]),
        helper.make_node("Concat", ["ones", "scale_hw"], ["scales"], axis=0),
        helper.make_node(
            "Resize",
            ["deep", "", "scales"],
            ["up"],
            mode=resize,
            coordinate_transformation_mode=coordinates,
            nearest_mode=rounding,
        ),
        helper.make_node("Shape", ["up"], ["up_hw"], start=2, end=4),
        helper.make_node("Shape", ["skip"], ["skip_hw"], start=2, end=4),
        helper.make_node("Sub", ["skip_hw", "up_hw"], ["rest"]),
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Div", ["rest", "two"], ["start"]),
        helper.make_node("Add", ["start", "up_hw"], ["last"]),
        helper.make_node("Constant", [], ["none"], value=none),
        helper.make_node("Equal", ["rest", "none"], ["whole"]),
        helper.make_node("Constant", [], ["open"], value=open_end),
        helper.make_node("Cast", ["whole"], ["whole_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole_number", "open"], ["far"]),
        helper.make_node("Max", ["last", "far"], ["end"]),
        helper.make_node("Constant", [], ["axes"], value=axes),
        helper.make_node("Slice", ["skip", "start", "end", "axes"], ["cropped"]),
        helper.make_node("Concat", ["cropped", "up"], ["fused"], axis=1),
    ]
    return helper.make_function(
        DOMAIN,
        OP_TYPE,
        ["deep", "skip"],
        ["fused"],
        nodes,
        [helper.make_opsetid("", OPSET)],
        attributes=["scale", "mode"],
    )


def is_step(node: onnx.NodeProto) -> bool:
    """True for an `edgeseg::UpsampleCropConcat` node."""
    return bool(node.domain == DOMAIN and node.op_type == OP_TYPE)


def attach(model: onnx.ModelProto) -> None:
    """Give the model the function body that its step nodes need, and the domain's opset.

    Raises:
        ModelError: the steps use both modes; one function serves one mode.
    """
    from onnx import helper

    modes = {_mode(node) for node in model.graph.node if is_step(node)}
    if len(modes) > 1:
        raise ModelError("one file cannot hold fused steps of two modes", sorted(modes), "Export with --inline")
    others = [item for item in model.functions if item.domain != DOMAIN]
    del model.functions[:]
    model.functions.extend([*others, *(function(mode) for mode in modes)])
    opsets = [item for item in model.opset_import if item.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend([*opsets, *(helper.make_opsetid(DOMAIN, 1) for _ in modes)])


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every step written out in standard operators.

    Where the rows and columns of both inputs are known, a step becomes Resize, Slice (only if there is something to
    cut) and Concat, which keep the step's name; elsewhere the function's body takes its place.
    """
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not any(item.domain == DOMAIN for item in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    while any(is_step(node) for node in copy.graph.node):
        shapes = _shapes(copy)
        steps = [node for node in copy.graph.node if is_step(node) and shapes.keys() >= set(node.input)]
        if not steps:
            break
        for step in steps:
            _expand(copy.graph, step, shapes)
    if any(is_step(node) for node in copy.graph.node):
        from onnx import inliner

        attach(copy)
        return inliner.inline_selected_functions(copy, [(DOMAIN, OP_TYPE)], exclude=False)
    attach(copy)
    return copy


def _mode(node: onnx.NodeProto) -> str:
    return next((item.s.decode() for item in node.attribute if item.name == "mode"), "bilinear")


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """(rows, columns) of the NCHW tensors where shape inference finds them."""
    from onnx import shape_inference

    # A step's own shape stays unknown to it: steps are expanded one after the other, each with a pass of its own.
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[2].HasField("dim_value") and dims[3].HasField("dim_value"):
            found[value.name] = (dims[2].dim_value, dims[3].dim_value)
    return found


def _expand(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: dict[str, tuple[int, int]]) -> None:
    from onnx import helper

    deep, skip = node.input
    scale = next(item.i for item in node.attribute if item.name == "scale")
    (rows, columns), (skip_rows, skip_columns) = (scale * shapes[deep][0], scale * shapes[deep][1]), shapes[skip]
    if skip_rows < rows or skip_columns < columns:
        todo = "Pad the network's input to a multiple of its stride"
        raise ModelError("a skip is smaller than the upsampled map", f"{node.name}: {shapes[skip]}", todo)
    resize, coordinates, rounding = _RESIZE[_mode(node)]
    name, made = node.name, []

    scales = g.put(graph, f"{name}.scales", np.array([1, 1, scale, scale], np.float32))
    options = {"mode": resize, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    made.append(helper.make_node("Resize", [deep, "", scales], [f"{name}.up"], name=f"{name}.up", **options))
    if (skip_rows, skip_columns) != (rows, columns):
        top, left = (skip_rows - rows) // 2, (skip_columns - columns) // 2
        bounds = [
            g.put(graph, f"{name}.{part}", np.array(values, np.int64))
            for part, values in (("start", (top, left)), ("end", (top + rows, left + columns)), ("axes", (2, 3)))
        ]
        made.append(helper.make_node("Slice", [skip, *bounds], [f"{name}.crop"], name=f"{name}.crop"))
        skip = f"{name}.crop"
    made.append(helper.make_node("Concat", [skip, f"{name}.up"], list(node.output), name=name, axis=1))
    nodes = [part for item in graph.node for part in (made if item.name == name and is_step(item) else [item])]
    del graph.node[:]
    graph.node.extend(nodes)
