"""Channels of any file equalized before quantization: in float the same, in int8 nearer to it, and said in the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from export_helpers import Exported, run_onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeseg.calib.ranges import Ranges
from edgeseg.errors import ModelError
from edgeseg.export.check import sample_pictures
from edgeseg.export.equalize_graph import MOST, PER_OCTAVE, apply_steps, find_steps, steps_of, to_text
from edgeseg.export.quantize import quantize
from edgeseg.export.verify import bisect

Floats = npt.NDArray[np.float32]
CLIP = helper.make_node("Clip", ["a", "low", "high"], ["b"])


def toy(*between: onnx.NodeProto, last: str = "b", extra: tuple[str, ...] = ()) -> onnx.ModelProto:
    """x [1, 2, 8, 8] -> first convolution -> `between` -> second one -> y; three channels of very different sizes."""
    rng = np.random.default_rng(0)
    sizes = np.array([1, 0.7, 0.45], np.float32)
    values = {
        "w1": rng.normal(size=(3, 2, 3, 3)) * sizes[:, None, None, None],
        "b1": rng.normal(size=3) * sizes,
        "w2": rng.normal(size=(4, 3, 1, 1)) / sizes[None, :, None, None],
        "b2": rng.normal(size=4),
        "dw": rng.normal(size=(3, 1, 3, 3)),
        "low": np.array(0.0),
        "high": np.array(6.0),
    }
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1], name="first"),
        *between,
        helper.make_node("Conv", [last, "w2", "b2"], ["y"], name="second"),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *extra)]
    graph = helper.make_graph(nodes, "toy", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def seen(model: onnx.ModelProto, x: Floats) -> dict[str, tuple[float, ...]]:
    """Largest magnitude of each channel of what convolutions read."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    names = [node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.input[0] != "x"]
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = run_onnxruntime(copy, {"x": x})
    return {name: tuple(np.abs(value).max(axis=(0, 2, 3)).tolist()) for name, value in found.items()}


RELU = helper.make_node("Relu", ["a"], ["b"])
DEPTHWISE = [RELU, helper.make_node("Conv", ["b", "dw"], ["c"], group=3), helper.make_node("Relu", ["c"], ["d"])]
SUM = [
    RELU,
    helper.make_node("Conv", ["b", "dw"], ["c"], group=3, pads=[1] * 4),
    helper.make_node("Add", ["b", "c"], ["d"]),
]
POOL = [helper.make_node("MaxPool", ["a"], ["m"], kernel_shape=[2, 2]), helper.make_node("Relu", ["m"], ["b"])]
GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "linear": lambda: toy(last="a"),
    "relu": lambda: toy(RELU),
    "clip": lambda: toy(CLIP),
    "depthwise": lambda: toy(*DEPTHWISE, last="d"),
    "sum": lambda: toy(*SUM, last="d"),
    "pool": lambda: toy(*POOL),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_float_stays_and_ranges_become_alike(kind: str) -> None:
    model = GRAPHS[kind]()
    x = np.random.default_rng(1).normal(size=(1, 2, 8, 8)).astype(np.float32)
    before, largest = run_onnxruntime(model, {"x": x})["y"], seen(model, x)
    steps = find_steps(model.graph, largest, {name: max(values) for name, values in largest.items()})
    assert "a" in steps
    apply_steps(model.graph, steps)
    np.testing.assert_allclose(run_onnxruntime(model, {"x": x})["y"], before, rtol=1e-4, atol=1e-4)
    for name, values in seen(model, x).items():
        assert max(values) <= max(largest[name]) * 1.0001, "no channel becomes larger than the scale holds"
        # A quarter of an octave is rounded off; what a sum adds has the factors of both.
        least = 2 ** (1.01 / PER_OCTAVE) if kind != "sum" else max(largest[name]) / min(largest[name])
        assert max(values) / min(values) < least


@pytest.mark.parametrize(
    "model",
    [
        toy(helper.make_node("Sigmoid", ["a"], ["b"])),
        toy(helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])),
        toy(RELU, extra=("b",)),
        toy(helper.make_node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2])),
        toy(helper.make_node("Conv", ["a", "w1", "b1"], ["n"]), last="a"),
    ],
    ids=["sigmoid", "silu", "output", "unknown", "shared weights"],
)
def test_what_takes_no_factor_gets_none(model: onnx.ModelProto) -> None:
    if any(node.output[0] == "n" for node in model.graph.node):
        model.graph.node[1].input[0] = "x"
    largest = {node.input[0]: (1.0, 0.1, 0.01) for node in model.graph.node if node.op_type == "Conv"}
    assert not find_steps(model.graph, largest, dict.fromkeys(largest, 1.0))


def test_a_clip_cuts_nothing_off_that_calibration_saw() -> None:
    model = toy(CLIP)
    # The scale would hold 100, the clip 6: of a channel that reached 3 that is twice as much at most.
    steps = find_steps(model.graph, {"b": (6.0, 3.0, 1e-9)}, {"b": 100.0})
    assert steps["a"].tolist() == [0, PER_OCTAVE, MOST]
    assert not find_steps(model.graph, {}, {"b": 100.0}), "nobody knows what it saw"


def test_a_file_says_what_was_done_and_verify_looks_through_it(
    person: Exported, ranges: Ranges, tmp_path: Path, pictures: npt.NDArray[np.uint8]
) -> None:
    assert ranges.channels and set(ranges.channels) <= set(ranges.tensors)
    path = tmp_path / "int8.onnx"
    quantize(person.path, ranges, path)
    steps = steps_of(onnx.load(path))
    assert steps
    # Pictures that calibration saw: others may lie beyond their ranges, with which this has nothing to do.
    frames = [(picture, None) for picture in sample_pictures(90, 120)]
    assert bisect(person.path, path, frames)[0] is None
    quantize(person.path, ranges, tmp_path / "plain.onnx", equalize=False)
    assert not steps_of(onnx.load(tmp_path / "plain.onnx"))
    with pytest.raises(ModelError, match="each in its own way"):
        bisect(path, tmp_path / "plain.onnx", [(pictures[0], None)])
    quantize(person.path, dataclasses.replace(ranges, channels={}), tmp_path / "none.onnx")
    assert not steps_of(onnx.load(tmp_path / "none.onnx"))


def test_steps_survive_as_text_and_damage_is_said() -> None:
    model = toy(RELU)
    steps: dict[str, Any] = {"a": np.array([0, 3, MOST])}
    helper.set_model_props(model, {"edgeseg.equalized": to_text(steps)})
    assert steps_of(model)["a"].tolist() == [0, 3, MOST]
    with pytest.raises(ModelError, match="other networks"):
        apply_steps(model.graph, {"a": np.array([1, 2])})
    helper.set_model_props(model, {"edgeseg.equalized": "{"})
    with pytest.raises(ModelError, match="damaged"):
        steps_of(model)
