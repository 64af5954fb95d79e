"""A float file and its ranges become one explicit int8 file: symmetric QuantizeLinear / DequantizeLinear pairs.

    x -> Q -> DQ -> Conv(DQ(int8 weights), float bias) -> activation -> Q -> DQ -> ...
    deep -> Q -> DQ \
                     UpsampleCropConcat -> Q -> DQ -> ...       one scale on deep, skip and output
    skip -> Q -> DQ /

Convolutions and linear layers only; everything between them stays float. Activations have one scale a tensor, weights
one an output channel, all zero points are 0, scales and biases are float32. A pair stands behind the activation
function, never between it and its layer, and every reader of a quantized tensor reads the same dequantized values: so
the map that a residual sum adds is rounded once, and what it is added to comes in float from its convolution, with
which runtimes fuse the sum. `edgeseg.export.shared_scales` says which tensors share a scale, and what that saves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.calib.calibrate import LAYERS
from edgeseg.calib.model_file import read_float_model
from edgeseg.calib.ranges import Ranges
from edgeseg.errors import ModelError, UsageError, nearest
from edgeseg.export import equalize_graph, fold, fused_step, rounding, shared_scales
from edgeseg.export import graph as g
from edgeseg.export.bias_correction import correct_biases
from edgeseg.export.to_onnx import save, written_aside
from edgeseg.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    import onnx

ACTIVATION_LEVELS = 127
# What lies behind the regions has other means in int8 than in float, and one layer serves several maps.
NO_PICTURES = "weights and biases of instance models are not fitted to pictures"
# A scale must not be zero: channels and tensors that are all zero get this step.
_SMALLEST = np.float32(2.0**-24)
# x86 before VNNI multiplies unsigned by signed bytes and adds two products in int16: 2 * 255 * 127 saturates there,
# 2 * 255 * 63 does not. OpenVINO moves int8 activations to unsigned, so it meets this; measured on AVX2 with 8 bits: up
# to 20 of 255 levels off the reference, with 7: 2. Depthwise kernels add each product in int32.
WEIGHT_BITS = 7


@dataclass(frozen=True, slots=True)
class Quantized:
    """What became of the nodes.

    Attributes:
        int8: names of the convolutions, linear layers and fused steps that now work on int8.
        kept_float: names of those that do not.
    """

    int8: tuple[str, ...]
    kept_float: tuple[str, ...]


def quantize(
    model_path: Path | str,
    ranges: Ranges | Path | str,
    out: Path | str,
    keep_float: Collection[str] = (),
    weight_bits: int = WEIGHT_BITS,
    pictures: Sequence[npt.NDArray[np.uint8]] = (),
    unify: Collection[str] = shared_scales.DEFAULT,
    equalize: bool = True,
    biases: bool = True,
) -> Quantized:
    """Write the int8 file of an fp32 file.

    Args:
        model_path: the fp32 file that was calibrated.
        ranges: its table of ranges, or the table's JSON file.
        out: the int8 file.
        keep_float: names of convolutions, linear layers and fused steps to leave in float.
        weight_bits: 7 keeps dense convolutions exact on CPUs without VNNI; 8 is a little finer where the file only
            meets VNNI, Arm or a GPU. Depthwise weights always have 8.
        pictures: inputs, uint8 [1, H, W, 3] each, on which weights are rounded so that the outputs change least
            (`rounding`) and biases corrected (`bias_correction`); without them each weight goes to its nearest step.
        unify: around what else than fused steps one scale is shared: "concat", "residual"; see `shared_scales`.
        equalize: give channels the same range first; see `equalize_graph`. The file says so in its metadata.
        biases: correct them, where there are pictures.

    Raises:
        UsageError: a name in `keep_float` that is no such node, other bits, another word in `unify`, or pictures for
            an instance model.
        InputError, OutputError: a file cannot be read or written.
        ModelError: no edgeseg model, not fp32, or the ranges are stale or foreign.
    """
    model, manifest = read_float_model(model_path)
    ranges = ranges if isinstance(ranges, Ranges) else Ranges.load(ranges)
    if weight_bits not in (7, 8):
        raise UsageError("weight bits not supported", weight_bits, "Use 8, or 7")
    ranges.check(model_path)
    if pictures and manifest.task == "instance":
        raise UsageError(NO_PICTURES, model_path, "Leave the pictures out")
    steps: equalize_graph.Steps = {}
    if equalize and ranges.channels:
        made = plan(model, ranges, keep_float, unify)
        limits = {tensor: made.scale(tensor) * ACTIVATION_LEVELS for tensor in made.leader}
        steps = equalize_graph.find_steps(model.graph, ranges.channels, limits)
        equalize_graph.apply_steps(model.graph, steps)
    reference = type(model).FromString(model.SerializeToString())
    result = rewrite(model, ranges, keep_float, weight_bits, unify, pictures)
    if pictures and biases:
        correct_biases(reference, model, pictures)
    note: dict[str, object] = {
        "method": ranges.method,
        "frames": len(ranges.frames.get("sha256", ())),
        "fingerprint": ranges.fingerprint,
        "parent_sha256": ranges.model_sha256,
        "weight_bits": weight_bits,
        "kept_float": list(result.kept_float),
        "weights_rounded_on": len(pictures),
        "biases_corrected_on": len(pictures) if biases else 0,
        "equalized": bool(steps),
    }
    if set(unify) != set(shared_scales.DEFAULT):
        note["shared_scales"] = sorted(unify)
    if ranges.frames.get("drawn"):
        note["drawn"] = True
    origin = dict(manifest.origin) | {"quantization": note}
    _relabel(model, dataclasses.replace(manifest, precision="int8", origin=origin), steps)
    with written_aside(Path(out)) as part:
        save(model, part)
    return result


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes int8, and in which steps.

    Attributes:
        names: of all convolutions, linear layers and fused steps, in the order of the graph.
        layers: the nodes of convolutions and linear layers that work on int8.
        steps: the nodes of fused steps that do.
        leader: for each tensor that becomes int8 the one whose scale it takes.
        scales: scale of each leader.
    """

    names: tuple[str, ...]
    layers: tuple[onnx.NodeProto, ...]
    steps: tuple[onnx.NodeProto, ...]
    leader: Mapping[str, str]
    scales: Mapping[str, np.float32]

    def scale(self, tensor: str) -> float:
        """The scale of a tensor that becomes int8."""
        return float(self.scales[self.leader[tensor]])


def plan(
    model: onnx.ModelProto,
    ranges: Ranges,
    keep_float: Collection[str] = (),
    unify: Collection[str] = shared_scales.DEFAULT,
) -> Plan:
    """What `rewrite` would do to a float model; errors as `quantize`."""
    shared_scales.check_kinds(unify)
    graph = model.graph
    known = g.weights(graph)
    nodes = [node for node in graph.node if node.op_type in LAYERS or fused_step.is_step(node)]
    names = tuple(node.name for node in nodes)
    for name in keep_float:
        if name not in names:
            raise UsageError("no layer or fused step of that name", name, nearest(name, names))
    chosen = [node for node in nodes if node.name not in keep_float]
    steps = tuple(node for node in chosen if fused_step.is_step(node))
    layers = tuple(node for node in chosen if _has_weights(node, known))
    around = [tensor for step in steps for tensor in (*step.input, *step.output)]
    tensors = list(dict.fromkeys([*(node.input[0] for node in layers), *around]))
    leader = shared_scales.leaders(graph, tensors, steps, unify)
    return Plan(names, layers, steps, leader, _scales(ranges, leader))


def rewrite(
    model: onnx.ModelProto,
    ranges: Ranges,
    keep_float: Collection[str] = (),
    weight_bits: int = WEIGHT_BITS,
    unify: Collection[str] = shared_scales.DEFAULT,
    pictures: Sequence[npt.NDArray[np.uint8]] = (),
) -> Quantized:
    """Put the pairs into the graph of `model`, in place; see `quantize`."""
    import onnx

    made = plan(model, ranges, keep_float, unify)
    graph = model.graph
    moments = rounding.second_moments(model, made.layers, pictures) if pictures else {}
    for leader, scale in made.scales.items():
        g.put(graph, f"{leader}.scale", scale)
    done = {node.name for node in (*made.steps, *made.layers)}
    head = _quantize_weights(graph, made.layers, weight_bits, moments)
    _quantize_tensors(graph, {tensor: f"{leader}.scale" for tensor, leader in made.leader.items()}, head)
    g.prune(model)
    onnx.checker.check_model(model, full_check=True)
    names = made.names
    return Quantized(tuple(name for name in names if name in done), tuple(name for name in names if name not in done))


def _has_weights(node: onnx.NodeProto, known: Collection[str]) -> bool:
    """Whether a node is a layer with one output channel in each row of its own weights."""
    if node.op_type not in LAYERS or node.input[1] not in known:
        return False
    return node.op_type == "Conv" or (g.attribute(node, "transB", 0) == 1 and g.attribute(node, "transA", 0) == 0)


def _scales(ranges: Ranges, leader: Mapping[str, str]) -> dict[str, np.float32]:
    """The scale of each leader: what holds all of its tensors."""
    largest: dict[str, float] = {}
    for tensor, group in leader.items():
        if tensor not in ranges.tensors:
            raise ModelError("the ranges lack a tensor", tensor, "Run edgeseg calibrate again")
        largest[group] = max(largest.get(group, 0.0), *(abs(value) for value in ranges.tensors[tensor]))
    return {group: np.maximum(np.float32(value / ACTIVATION_LEVELS), _SMALLEST) for group, value in largest.items()}


def weight_levels(depthwise: bool, bits: int = WEIGHT_BITS) -> int:
    """Levels either way of a layer's weights."""
    return 127 if depthwise else int(2 ** (bits - 1)) - 1


def _quantize_weights(
    graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto], bits: int, moments: Mapping[str, rounding.Array]
) -> list[onnx.NodeProto]:
    """Replace the layers' weights by int8 ones; returns the nodes that give the floats back."""
    from onnx import helper

    known, made = g.weights(graph), {}
    for node in nodes:
        name = node.input[1]
        if name not in made:
            weight = g.array(known[name]).astype(np.float64)
            levels = weight_levels(weight.shape[1] == 1 and g.attribute(node, "group", 1) > 1, bits)
            flat = weight.reshape(len(weight), -1)
            scale = np.maximum((np.abs(flat).max(axis=1) / levels).astype(np.float32), _SMALLEST)
            if name in moments:
                steps = rounding.rounded_by_group(flat, scale.astype(np.float64), levels, moments[name])
            else:
                steps = np.clip(np.rint(flat / scale[:, None]), -levels, levels).astype(np.int8)
            steps = steps.reshape(weight.shape)
            parts = [f"{name}.int8", f"{name}.scale", f"{name}.zero"]
            for part, value in zip(parts, (steps, scale, np.zeros(len(scale), np.int8)), strict=True):
                g.put(graph, part, value)
            label = f"{name}.dequantize"
            made[name] = helper.make_node("DequantizeLinear", parts, [f"{name}.float"], name=label, axis=0)
        node.input[1] = f"{name}.float"
    return list(made.values())


def _quantize_tensors(graph: onnx.GraphProto, scales: Mapping[str, str], head: list[onnx.NodeProto]) -> None:
    """Set a Q/DQ pair behind each tensor of `scales` and let its readers read the pair's output."""
    from onnx import helper

    zero = g.put(graph, "zero.int8", np.int8(0))
    nodes = head
    for node in graph.node:
        node.input[:] = [f"{name}.float" if name in scales else name for name in node.input]
        nodes.append(node)
        for name in node.output:
            if name not in scales:
                continue
            pair = [scales[name], zero]
            nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [f"{name}.int8"], name=f"{name}.quantize"))
            back = [f"{name}.int8", *pair]
            nodes.append(helper.make_node("DequantizeLinear", back, [f"{name}.float"], name=f"{name}.dequantize"))
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _relabel(model: onnx.ModelProto, manifest: Manifest, steps: equalize_graph.Steps) -> None:
    """Store the new manifest and what was equalized; the norms' record goes, as int8 weights cannot be trained from."""
    from onnx import helper

    kept = {item.key: item.value for item in model.metadata_props if item.key != fold.NORMS_KEY}
    done = {equalize_graph.EQUALIZED_KEY: equalize_graph.to_text(steps)} if steps else {}
    helper.set_model_props(model, kept | done | {METADATA_KEY: manifest.to_json()})
