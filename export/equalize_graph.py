"""Give a file's channels the same range before it is quantized, in any network; in float nothing changes.

int8 has one step for a whole map, so a channel with small values gets few levels. A convolution may give a channel s
times as large where all that reads it takes that back in its weights (cross-layer equalization: Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction"; here by the activations that calibration saw).
Between the two may lie whatever keeps factors above 0: ReLU, sums, pooling, resizing, concatenation, the fused step.
Depthwise weights have a scale a channel anyway, so that in front of them this costs nothing at all.

A clip (ReLU6) keeps its bound, which then stands for bound / s: never less than the channel's largest value in
calibration, from which on int8 saturates, too.

Steps are counted in quarters of a power of two, so that a file can say in one character a channel what was done.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.export import fused_step
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

EQUALIZED_KEY = "edgeseg.equalized"
PER_OCTAVE = 4
# Four times as large at most. More gains next to nothing, and a channel that calibration hardly met would be cut off.
MOST = 2 * PER_OCTAVE
# Output has the input's channels, and a factor above 0 passes through.
_PASSES = ("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Identity")
_FIRST = ord("0")

# Conv output -> steps of its channels: it is made 2^(step / PER_OCTAVE) times as large.
Steps = Mapping[str, npt.NDArray[np.int64]]


def find_steps(graph: onnx.GraphProto, largest: Mapping[str, Any], limits: Mapping[str, float]) -> Steps:
    """How much larger each channel may become.

    Args:
        graph: in float.
        largest: tensor -> largest magnitude of each of its channels in calibration.
        limits: tensor that becomes int8 -> the largest magnitude that its scale holds.
    """
    groups = _Groups(graph)
    bounds = {node.output[0]: _bound(graph, node) for node in graph.node if node.op_type == "Clip"}
    room = np.full(groups.count, np.inf)
    for name, places in groups.places.items():
        seen = np.asarray(largest.get(name, ()), np.float64)
        if len(seen) != len(places):
            if name in limits or np.isfinite(bounds.get(name, np.inf)):
                room[places] = 1.0  # nobody knows what would be cut off
            continue
        seen = np.maximum(seen, 1e-12)
        if name in limits:
            np.minimum.at(room, places, np.maximum(limits[name] / seen, 1.0))
        np.minimum.at(room, places, np.maximum(bounds.get(name, np.inf) / seen, 1.0))
    room[groups.fixed | ~np.isfinite(room)] = 1.0
    steps = np.clip(np.floor(np.log2(room) * PER_OCTAVE + 1e-9), 0, MOST).astype(np.int64)
    made = (node.output[0] for node in graph.node if node.op_type == "Conv" and node.output[0] in groups.places)
    return {name: steps[groups.places[name]] for name in made if steps[groups.places[name]].any()}


def apply_steps(graph: onnx.GraphProto, steps: Steps) -> None:
    """Rescale weights and biases, in place.

    Raises:
        ModelError: the steps are those of another network.
    """
    groups = _Groups(graph)
    chosen = np.zeros(groups.count, np.int64)
    for name, values in steps.items():
        if len(groups.places.get(name, ())) != len(values):
            raise ModelError("the files hold other networks", name, "Give two files of one network")
        chosen[groups.places[name]] = values
    known = g.weights(graph)
    for node in graph.node:
        if node.op_type != "Conv" or node.output[0] not in groups.places or node.input[1] not in known:
            continue
        before, after = (2.0 ** (chosen[groups.places[name]] / PER_OCTAVE) for name in (node.input[0], node.output[0]))
        if (before == 1).all() and (after == 1).all():
            continue
        weight = g.array(known[node.input[1]]).astype(np.float64) * after[:, None, None, None]
        weight /= before[:, None, None, None] if _is_depthwise(graph, node, known) else before[None, :, None, None]
        g.put(graph, node.input[1], weight.astype(np.float32))
        if len(node.input) == 3:
            bias = g.array(known[node.input[2]]).astype(np.float64) * after
            g.put(graph, node.input[2], bias.astype(np.float32))


def to_text(steps: Steps) -> str:
    """For the metadata of a file: JSON of one character a channel, "0" for one that stays as it is."""
    return json.dumps({name: "".join(chr(_FIRST + int(step)) for step in values) for name, values in steps.items()})


def steps_of(model: onnx.ModelProto) -> Steps:
    """What was done to a file; empty where nothing was."""
    text = next((item.value for item in model.metadata_props if item.key == EQUALIZED_KEY), "{}")
    try:
        found = json.loads(text)
        return {name: np.array([ord(letter) - _FIRST for letter in word]) for name, word in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise ModelError("the file's record of equalization is damaged", text[:40], "Quantize it again") from None


def _is_depthwise(graph: onnx.GraphProto, node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto]) -> bool:
    return int(g.attribute(node, "group", 1)) > 1 and known[node.input[1]].dims[1] == 1


def _bound(graph: onnx.GraphProto, node: onnx.NodeProto) -> float:
    """What a Clip may give at most, in magnitude and on either side; 0 where 0 lies outside or nobody knows."""
    known, found = g.weights(graph), []
    for name, sign in zip([*node.input[1:], "", ""][:2], (-1.0, 1.0), strict=True):
        value = np.inf if not name else sign * float(g.array(known[name])) if name in known else 0.0
        # A bound at 0 is that of a ReLU: a factor passes it.
        found.append(np.inf if value == 0 and sign < 0 and name in known else value)
    return max(0.0, min(found))


class _Groups:
    """Channels that must have one factor.

    Attributes:
        places: tensor [N, C, H, W] -> the group of each channel, int64 [C].
        count: of the groups, some of which have no channel.
        fixed: bool [count], true where the factor is 1: something reads or makes it that takes no other.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._known = g.weights(graph)
        self._uses = Counter(name for node in graph.node for name in node.input if name in self._known)
        self._parent: list[int] = []
        self._fixed: set[int] = set()
        self._tensors: dict[str, list[int]] = {}
        for node in graph.node:
            self._add(node)
        for value in (*graph.input, *graph.output):
            self._fix(value.name)
        # What a subgraph reads is not looked for.
        if any(item.HasField("g") or item.graphs for node in graph.node for item in node.attribute):
            self._fixed.update(range(len(self._parent)))
        self.count = len(self._parent)
        self.places = {name: np.array([self._find(i) for i in own]) for name, own in self._tensors.items()}
        self.fixed: npt.NDArray[np.bool_] = np.zeros(self.count, bool)
        self.fixed[[self._find(i) for i in self._fixed]] = True

    def _add(self, node: onnx.NodeProto) -> None:
        names = [name for name in node.input if name and name not in self._known]
        maps = [self._tensors[name] for name in names if name in self._tensors]
        together = len(maps) == len(names) > 0
        if node.op_type == "Conv" and node.input[1] in self._known and len(self._known[node.input[1]].dims) == 4:
            self._add_layer(node)
        elif fused_step.is_step(node) and together:
            deep, skip = maps
            self._tensors[node.output[0]] = [*skip, *deep]
        elif node.op_type == "Concat" and together and g.attribute(node, "axis") == 1:
            self._tensors[node.output[0]] = [place for own in maps for place in own]
        elif node.op_type in _PASSES and together and len(names) == 1:
            self._tensors[node.output[0]] = maps[0]
        elif node.op_type == "Add" and together and len(names) == 2 and len(maps[0]) == len(maps[1]):
            for one, other in zip(*maps, strict=True):
                self._parent[self._find(one)] = self._find(other)
            self._tensors[node.output[0]] = maps[0]
        else:
            for name in names:
                self._fix(name)

    def _add_layer(self, node: onnx.NodeProto) -> None:
        weight, groups = self._known[node.input[1]], int(g.attribute(node, "group", 1))
        outputs, inputs = int(weight.dims[0]), int(weight.dims[1]) * groups
        source = node.input[0]
        if source not in self._tensors:
            self._tensors[source] = self._new(inputs)
            self._fix(source)
        result = self._tensors[node.output[0]] = self._new(outputs)
        alone = all(self._uses[name] == 1 for name in node.input[1:] if name in self._uses)
        if not alone or (len(node.input) == 3 and node.input[2] not in self._known):
            self._fix(source)
            self._fixed.update(result)
        elif groups > 1 and not (outputs == inputs == groups):
            self._fix(source)

    def _new(self, count: int) -> list[int]:
        first = len(self._parent)
        self._parent += range(first, first + count)
        return list(range(first, first + count))

    def _fix(self, name: str) -> None:
        self._fixed.update(self._tensors.get(name, ()))

    def _find(self, place: int) -> int:
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place
