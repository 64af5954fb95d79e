"""Where two files of one network part: each node of both computes on the same values, so that its error is its own.

Errors of a whole network add up, so that the layer at fault is not the one that shows it. Here the reference runs
first. Then every node of the candidate reads the reference's values, rounded where the candidate rounds them, and every
node of the reference reads those, too: what differs behind a node was done by that node. Rounding is looked at by
itself. Nodes are matched by the names of their outputs, which export and quantization keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.calib.calibrate import LAYERS
from edgeseg.calib.tap import tap
from edgeseg.errors import ModelError
from edgeseg.export import graph as g
from edgeseg.manifest import PREVIOUS

if TYPE_CHECKING:
    import onnx

# Largest error of a node that computes as it should: float arithmetic in another order. A layer of an int8 file also
# rounds its weights, and a QuantizeLinear its input.
LIMIT = 1e-3
ROUNDING = {**dict.fromkeys(LAYERS, 0.35), "QuantizeLinear": 0.2}
# A channel counts with at least this share of its tensor's mean magnitude: nearly empty ones would be all rounding.
_FAINT = 0.3
_FORCED = "forced."
_Run = Callable[[npt.NDArray[np.uint8], Mapping[str, npt.NDArray[Any]]], dict[str, npt.NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class NodeError:
    """One node's own error.

    Attributes:
        node: its name, or its first output where it has none.
        operator: its type.
        error: of the channel that is furthest off: root mean square of the difference over that of the reference.
    """

    node: str
    operator: str
    error: float


def node_errors(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, images: Sequence[npt.NDArray[np.uint8]]
) -> list[NodeError]:
    """The error of each node of `candidate` whose output `reference` has too, in the order of the graph.

    Args:
        reference: a file's model.
        candidate: another one, of the same network.
        images: inputs uint8 [1, H, W, 3] BGR.

    Raises:
        ModelError: the two have no tensors in common, or weights of other shapes.
    """
    _check_weights(reference, candidate)
    nodes = _matched(reference, candidate, images[0])
    names = [node.output[0] for node in nodes]
    pairs = _rounded(candidate, names)
    known = tap(reference, names)
    forced, again = _forced(candidate, names, [pair.output for pair in pairs.values()]), _forced(reference, names)
    sums: dict[str, _Sum] = {}
    for image in images:
        wanted = dict(zip(names, known(image), strict=True))
        made = forced(image, wanted)
        rounded = {name: made[pairs[name].output] if name in pairs else value for name, value in wanted.items()}
        expected = again(image, rounded)
        for name in names:
            sums.setdefault(name, _Sum()).add(made[name], expected[name])
            if name in pairs:
                sums.setdefault(pairs[name].output, _Sum()).add(rounded[name], wanted[name])
    errors = []
    for node in nodes:
        name = node.output[0]
        errors.append(NodeError(node.name or name, node.op_type, sums[name].largest()))
        if name in pairs:
            errors.append(NodeError(pairs[name].node, "QuantizeLinear", sums[pairs[name].output].largest()))
    return errors


def parting(errors: Sequence[NodeError], precision: str) -> NodeError | None:
    """The first node whose error is more than the candidate's precision explains."""
    for item in errors:
        limit = ROUNDING.get(item.operator, LIMIT) if precision == "int8" else LIMIT
        # Written so that an error that is no number is one.
        if not item.error <= limit:
            return item
    return None


@dataclass(frozen=True, slots=True)
class _Pair:
    """A QuantizeLinear and what its DequantizeLinear gives."""

    node: str
    output: str


class _Sum:
    """Squares of differences and of what they are measured by, of each channel [C] of a map, of others as a whole."""

    def __init__(self) -> None:
        self.differences: Any = 0.0
        self.sizes: Any = 0.0

    def add(self, given: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
        with np.errstate(invalid="ignore"):  # infinity less infinity
            difference = np.where(given == wanted, np.float32(0), given - wanted)
        self.differences = self.differences + _squares(difference)
        # Detectors take logarithms of empty boxes: infinities, which say nothing of a size.
        self.sizes = self.sizes + _squares(np.where(np.isfinite(wanted), wanted, np.float32(0)))

    def largest(self) -> float:
        floor = max(_FAINT**2 * float(np.mean(self.sizes)), 1e-20)
        return float(np.sqrt(np.max(self.differences / np.maximum(self.sizes, floor))))


def _check_weights(reference: onnx.ModelProto, candidate: onnx.ModelProto) -> None:
    own = {item.name: list(item.dims) for item in candidate.graph.initializer}
    for item in reference.graph.initializer:
        if item.name in own and own[item.name] != list(item.dims):
            seen = f"{item.name}: {list(item.dims)} and {own[item.name]}"
            raise ModelError("the files hold other networks", seen, "Give two files of one network")


def _matched(
    reference: onnx.ModelProto, candidate: onnx.ModelProto, image: npt.NDArray[np.uint8]
) -> list[onnx.NodeProto]:
    """The candidate's nodes whose first output is a float tensor that the reference has too."""
    made = {name for node in reference.graph.node for name in node.output}
    nodes = [
        node
        for node in candidate.graph.node
        # A pair's output belongs to its QuantizeLinear.
        if node.output and node.output[0] in made and node.op_type != "DequantizeLinear"
    ]
    values = tap(reference, [node.output[0] for node in nodes])(image) if nodes else []
    nodes = [node for node, value in zip(nodes, values, strict=True) if value.dtype == np.float32]
    if not nodes:
        raise ModelError("the files share no tensors", candidate.graph.name, "Give two files of one network")
    return nodes


def _rounded(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, _Pair]:
    """The pairs behind some tensors, by tensor."""
    readers = g.consumers(model.graph)
    return {
        node.input[0]: _Pair(node.name or node.output[0], reader.output[0])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in names
        for reader in readers.get(node.output[0], [])
        if reader.op_type == "DequantizeLinear"
    }


def _forced(model: onnx.ModelProto, names: Sequence[str], more: Sequence[str] = ()) -> _Run:
    """A function from a picture and values of the tensors `names` to what the nodes behind them make of those values.

    Whoever reads one of the tensors reads the value given; the outputs are the tensors as they were made, and `more`.
    """
    import onnx
    import onnxruntime

    copy = onnx.ModelProto.FromString(model.SerializeToString())
    chosen = set(names)
    for node in copy.graph.node:
        node.input[:] = [f"{_FORCED}{name}" if name in chosen else name for name in node.input]
    read = {name for node in copy.graph.node for name in node.input}
    kept = [item for item in copy.graph.input if item.name in read]
    del copy.graph.input[:], copy.graph.output[:]
    copy.graph.input.extend(kept)
    # Without a type, as values may have any rank: the runtime infers it from the nodes that read them.
    forced = [name for name in names if f"{_FORCED}{name}" in read]
    copy.graph.input.extend(
        onnx.helper.make_tensor_value_info(f"{_FORCED}{n}", onnx.TensorProto.FLOAT, None) for n in forced
    )
    outputs = [*names, *more]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(image: npt.NDArray[np.uint8], values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        feeds = {f"{_FORCED}{name}": values[name] for name in forced}
        feeds |= {item.name: _picture(item.name, image) for item in kept}
        return dict(zip(outputs, session.run(outputs, feeds), strict=True))

    return run


def _picture(name: str, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The file's own inputs: the picture, or nothing for what is remembered."""
    return np.zeros(image.shape[:3], np.uint8) if name == PREVIOUS else image


def _squares(values: npt.NDArray[Any]) -> Any:
    """Sum of squares: of each channel [C] of a map [N, C, H, W], of anything else as a whole."""
    squares = np.square(values, dtype=np.float64)
    return squares.sum(axis=(0, 2, 3)) if values.ndim == 4 else np.atleast_1d(squares.sum())
