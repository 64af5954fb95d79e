"""The camera contract as ONNX nodes: camera bytes in front of the network, label bytes behind it.

    image uint8 [N, H, W, 3] BGR -> Cast -> Sub mean -> Transpose ──┬─> first convolution
    previous_probability uint8 [N, H, W] -> Cast -> x 0.5 -> Concat ┘                       (models with memory)
    logits -> cut -> Sigmoid -> x 255 -> Round -> Clip -> Squeeze -> Cast = probability     (two classes)
                                                              └─> Sub 127 -> Clip to 0..1 -> Cast = label_map
                                                  (127 for a threshold of 0.5)
    logits -> cut -> ArgMax -> Cast (float) -> Cast = label_map                             (more classes)

Colour order and 1 / std go into the first convolution's weights, which is exact. The mean stays a subtraction: the
convolution pads with zeros, and a zero must stand for the mean colour, as it did in training; as a bias it would be
wrong along the border. What is remembered is halved, to lie in the range of a centred picture (both share one int8
scale), and its 2 / 255 goes into the weights, too. TensorRT wants the first Cast to be the only reader of the bytes,
and the last node to be the Cast to uint8, from a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.export import graph as g
from edgeseg.export.shape import open_dims
from edgeseg.manifest import PREVIOUS, Manifest
from edgeseg.runtime.postprocess import threshold_byte

if TYPE_CHECKING:
    import onnx

IMAGE = "image"
CENTRE, PLANES, REMEMBERED, PADDED = "camera.centre", "camera.planes", "camera.remembered", "camera.padded"
# A convolution that reads one of these has the colour order and 1 / std in its weights.
PICTURES = (CENTRE, PLANES, REMEMBERED, PADDED)
# Half of a byte's range, what stands for a remembered probability of 1.
_CERTAIN = 127.5
_ORDER = [2, 1, 0, 3]  # BGR and what is remembered


def add_camera(
    graph: onnx.GraphProto,
    mean: Sequence[float],
    std: Sequence[float],
    manifest: Manifest,
    pads: tuple[int, int, int, int],
    free: bool = False,
) -> None:
    """Replace the graph's one input (normalized RGB, and the last probability) by `image` (and `PREVIOUS`).

    Args:
        graph: changed in place; its input is float32 [N, C, height + pads, width + pads], C = 3 or, with memory, 4.
        mean, std: of the red, green and blue channel, on the 0..255 scale.
        manifest: says height, width and whether there is a memory.
        pads: rows and columns of mean colour added (top, left, bottom, right) before the network.
        free: the size is left open.
    """
    from onnx import TensorProto, helper

    network_input = graph.input[0].name
    readers = g.consumers(graph)[network_input]
    bgr_mean = np.asarray(mean[::-1], np.float32)
    shared = len(set(bgr_mean.tolist())) == 1
    g.put(graph, "camera.mean", bgr_mean[0] if shared else bgr_mean.reshape(1, 3, 1, 1))
    front = [helper.make_node("Cast", [IMAGE], ["camera.float"], name="camera.float", to=TensorProto.FLOAT)]
    # One mean for all channels: subtracted from packed pixels OpenVINO needs no transpose at all, as its convolutions
    # read packed pixels. A mean a channel is slow there in ONNX Runtime, so it waits for the planes.
    last = "camera.float"
    for name in (CENTRE, PLANES) if shared else (PLANES, CENTRE):
        if name == CENTRE:
            front.append(helper.make_node("Sub", [last, "camera.mean"], [name], name=name))
        else:
            front.append(helper.make_node("Transpose", [last], [name], name=name, perm=[0, 3, 1, 2]))
        last = name
    if manifest.memory:
        front += _remember(graph, last)
        last = REMEMBERED
    picture = last
    if any(pads):
        amounts = np.array([0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]], np.int64)
        g.put(graph, "camera.pads", amounts)
        front.append(helper.make_node("Pad", [last, "camera.pads"], [PADDED], name=PADDED))
        last = PADDED
    g.replace_input(readers, network_input, last)
    _insert(graph, front)
    g.fold_pads(graph)
    _fold_colours(graph, last if last in g.producers(graph) else picture, std)
    del graph.input[:]
    shape = open_dims(manifest.height, manifest.width, free)
    graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [*shape, 3]))
    if manifest.memory:
        graph.input.append(helper.make_tensor_value_info(PREVIOUS, TensorProto.UINT8, shape))


def _remember(graph: onnx.GraphProto, picture: str) -> list[onnx.NodeProto]:
    """Nodes that append the last probability, halved, to the channels of `picture`."""
    from onnx import TensorProto, helper

    half = g.put(graph, "camera.half", np.float32(0.5))
    axis = g.put(graph, "camera.channel", np.array([1], np.int64))
    cast, plane, halved = "camera.last", "camera.last_plane", "camera.last_half"
    return [
        helper.make_node("Cast", [PREVIOUS], [cast], name=cast, to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", [cast, axis], [plane], name=plane),
        helper.make_node("Mul", [plane, half], [halved], name=halved),
        helper.make_node("Concat", [picture, halved], [REMEMBERED], name=REMEMBERED, axis=1),
    ]


def _fold_colours(graph: onnx.GraphProto, tensor: str, std: Sequence[float]) -> None:
    """Put the channel flip and 1 / std into the convolutions that read the picture, else in front of the network."""
    from onnx import helper

    readers = g.consumers(graph)[tensor]
    known = g.weights(graph)
    dense = all(node.op_type == "Conv" and g.attribute(node, "group", 1) == 1 for node in readers)
    names = dict.fromkeys(node.input[1] for node in readers if node.op_type == "Conv")
    alone = all(name in known and all(other in readers for other in g.consumers(graph)[name]) for name in names)
    if dense and alone:
        for name in names:
            weight = g.array(known[name]).astype(np.float64)
            g.put(graph, name, fold_colours(weight, std).astype(np.float32))
        return
    channels = 4 if REMEMBERED in g.producers(graph) else 3
    order = g.put(graph, "camera.order", np.array(_ORDER[:channels], np.int64))
    deviations = np.asarray([*std, _CERTAIN][:channels], np.float32)
    scale = g.put(graph, "camera.std", deviations.reshape(1, channels, 1, 1))
    flip = helper.make_node("Gather", [tensor, order], ["camera.rgb"], name="camera.rgb", axis=1)
    divide = helper.make_node("Div", ["camera.rgb", scale], ["camera.scaled"], name="camera.scaled")
    g.replace_input(readers, tensor, "camera.scaled")
    place = max(index for index, node in enumerate(graph.node) if node.output[0] == tensor)
    _insert(graph, [flip, divide], place + 1)


def fold_colours(weight: Any, std: Sequence[float]) -> Any:
    """Weights [O, C, kh, kw] for normalized RGB -> weights for centred BGR on the 0..255 scale.

    C is 3; with memory 4, the last for a probability of 0 to 1 -> for half of its byte.
    """
    channels = weight.shape[1]
    return weight[:, _ORDER[:channels]] / _deviations(std, channels)


def unfold_colours(weight: Any, std: Sequence[float]) -> Any:
    """The reverse of `fold_colours`."""
    channels = weight.shape[1]
    return (weight * _deviations(std, channels))[:, _ORDER[:channels]]


def _deviations(std: Sequence[float], channels: int) -> Any:
    return np.asarray([*std[::-1], _CERTAIN][:channels], np.float64).reshape(1, channels, 1, 1)


def add_labels(graph: onnx.GraphProto, manifest: Manifest, cut: tuple[int, int] | None, free: bool = False) -> None:
    """Replace the graph's one output (logits) by the manifest's outputs.

    Args:
        graph: changed in place; its output is float32 [N, C, h, w].
        manifest: says the outputs' names and size.
        cut: (row, column) of the first pixel that is kept, where the logits are larger than the outputs.
        free: the size is left open.
    """
    from onnx import TensorProto, helper

    logits = graph.output[0].name
    height, width = manifest.output_height, manifest.output_width
    nodes: list[onnx.NodeProto] = []

    def add(op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [name], name=f"labels.{name.removeprefix('labels.')}", **attributes))
        return name

    def constant(name: str, values: Any, kind: type[np.generic]) -> str:
        return g.put(graph, f"labels.{name}", np.asarray(values, kind))

    if cut is not None:
        start = constant("cut_start", cut, np.int64)
        end = constant("cut_end", (cut[0] + height, cut[1] + width), np.int64)
        logits = add("Slice", [logits, start, end, constant("cut_axes", (2, 3), np.int64)], "labels.cut")
    del graph.output[:]
    if manifest.two_class:
        cutoff = threshold_byte(manifest.threshold) - 1
        zero, one, below, most = (constant(str(value), value, np.float32) for value in (0, 1, cutoff, 255))
        # A sub-pixel head only moves values: its levels are made in front of the move, where OpenVINO fuses them into
        # the convolution, unless somebody wants the logits themselves.
        shuffle = None if cut or "logits" in manifest.outputs else _take_shuffle(graph, logits)
        share = add(
            "Mul", [add("Sigmoid", [shuffle.input[0] if shuffle else logits], "labels.sigmoid"), most], "labels.scaled"
        )
        levels = add("Clip", [add("Round", [share], "labels.round"), zero, most], "labels.levels")
        if shuffle and free:
            nodes.append(helper.make_node("DepthToSpace", [levels], ["labels.shuffled"], name="labels.shuffled"))
            nodes[-1].attribute.extend(shuffle.attribute)
            flat = add("Squeeze", ["labels.shuffled", constant("channel", [1], np.int64)], "labels.flat")
        elif shuffle:
            flat = _shuffle(graph, nodes, levels, g.attribute(shuffle, "blocksize", 1), (height, width))
        else:
            flat = add("Squeeze", [levels, constant("channel", [1], np.int64)], "labels.flat")
        label = add("Clip", [add("Sub", [flat, below], "labels.above"), zero, one], "labels.label")
        add("Cast", [flat], "probability", to=TensorProto.UINT8)
    else:
        label = add("ArgMax", [logits], "labels.argmax", axis=1, keepdims=0)
        label = add("Cast", [label], "labels.label", to=TensorProto.FLOAT)
    add("Cast", [label], "label_map", to=TensorProto.UINT8)
    graph.node.extend(nodes)
    if "logits" in manifest.outputs:
        g.rename_tensor(graph, logits, "logits")
    for name in manifest.outputs:
        shape = open_dims(height, width, free)
        if name == "logits":
            channels = 1 if manifest.two_class else len(manifest.classes)
            shape.insert(1, channels)
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        else:
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))


def _take_shuffle(graph: onnx.GraphProto, logits: str) -> onnx.NodeProto | None:
    """Take the DepthToSpace that makes `logits` out of the graph; None where something else makes them."""
    node = g.producers(graph).get(logits)
    if node is None or node.op_type != "DepthToSpace":
        return None
    copy: onnx.NodeProto = type(node).FromString(node.SerializeToString())
    graph.node.remove(node)
    return copy


def _shuffle(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], levels: str, block: int, size: tuple[int, int]
) -> str:
    """Add DepthToSpace of `levels` [N, block^2, h, w] to `size` in steps; returns the result's name, [N, H, W].

    OpenVINO's convolutions leave packed channels, so that the first transpose moves nothing there, and the second one
    moves whole rows of a block.
    """
    from onnx import helper

    rows = g.put(graph, "labels.rows", np.array((-1, size[1] // block, block, block), np.int64))
    whole = g.put(graph, "labels.size", np.array((-1, *size), np.int64))
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Transpose", [levels], "labels.packed", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["labels.packed", rows], "labels.blocks", {}),
        ("Transpose", ["labels.blocks"], "labels.turned", {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["labels.turned", whole], "labels.flat", {}),
    ]
    nodes += [helper.make_node(op, inputs, [name], name=name, **extra) for op, inputs, name, extra in steps]
    return "labels.flat"


def _insert(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], place: int = 0) -> None:
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*old[:place], *nodes, *old[place:]])
