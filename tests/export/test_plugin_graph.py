"""The graph for TensorRT's plugin: fused steps on integers, the same labels by ONNX's reference evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from export_helpers import Exported
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgeseg.export import graph as g
from edgeseg.export.build_engine import typed
from edgeseg.export.fused_step import is_step
from edgeseg.export.plugin_graph import for_plugin


class UpsampleCropConcat(OpRun):
    """What the plugin computes on int8: the exact bilinear mean of the integers, to the nearest, ties to even."""

    op_domain = "edgeseg"

    def _run(self, deep: Any, skip: Any, **_: Any) -> tuple[Any]:
        assert deep.dtype == skip.dtype == np.int8
        up = deep.astype(np.float64)
        for axis in (2, 3):
            size = up.shape[axis]
            # Half-pixel centres at twice the size: three quarters of the nearer one, a quarter of the other.
            place = (np.arange(2 * size) + 0.5) / 2 - 0.5
            low = np.floor(place).astype(int)
            share = (place - low).reshape([-1 if k == axis else 1 for k in range(4)])
            first, second = (np.take(up, np.clip(low + k, 0, size - 1), axis) for k in (0, 1))
            up = first * (1 - share) + second * share
        top, left = ((skip.shape[k] - up.shape[k]) // 2 for k in (2, 3))
        cropped = skip[:, :, top : top + up.shape[2], left : left + up.shape[3]]
        return (np.concatenate([cropped, np.rint(up).astype(np.int8)], axis=1),)


def test_int8_steps_compute_on_integers_and_say_the_same(int8: Path, pictures: npt.NDArray[np.uint8]) -> None:
    model = onnx.load(int8)
    steps = sum(is_step(node) for node in model.graph.node)
    wanted = ReferenceEvaluator(model).run(["label_map", "probability"], {"image": pictures[1:2]})
    pairs = sum(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
    for_plugin(model)
    assert steps >= 2 and not model.functions
    makers, readers = g.producers(model.graph), g.consumers(model.graph)
    for step in (node for node in model.graph.node if is_step(node)):
        assert {makers[name].op_type for name in step.input} <= {"QuantizeLinear", "UpsampleCropConcat"}
        assert {node.op_type for node in readers[step.output[0]]} == {"DequantizeLinear"}
        assert g.attribute(step, "plugin_namespace") == b"edgeseg"
    left = sum(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
    assert left <= pairs - 2 * steps
    found = ReferenceEvaluator(model, new_ops=[UpsampleCropConcat]).run(
        ["label_map", "probability"], {"image": pictures[1:2]}
    )
    # A float that lies on a tie between two levels may have fallen on the other side.
    assert (found[0] == wanted[0]).mean() > 0.999
    assert np.abs(found[1].astype(int) - wanted[1]).mean() < 0.1


def test_float_steps_stay_float_but_lose_their_body(person: Exported) -> None:
    model = onnx.load(person.path)
    steps = [node.SerializeToString() for node in model.graph.node if is_step(node)]
    for_plugin(model)
    assert [node.SerializeToString() for node in model.graph.node if is_step(node)] == steps
    assert not model.functions


def test_other_scales_are_left_alone(int8: Path) -> None:
    model = onnx.load(int8)
    step = next(node for node in model.graph.node if is_step(node))
    behind = next(node for node in model.graph.node if step.output[0] in node.input)
    behind.input[1] = g.put(model.graph, "another.scale", np.float32(0.5))
    for_plugin(model)
    assert "DequantizeLinear" in {g.producers(model.graph)[name].op_type for name in step.input}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_only_a_build_with_the_plugin_gets_it(person: Exported, int8: Path, tmp_path: Path, precision: str) -> None:
    file = int8 if precision == "int8" else person.path
    library = tmp_path / "lib.so"
    library.write_bytes(b"")
    with_plugin, without = (
        onnx.load_from_string(typed(file, precision, (), "tensorrt", plugin)[0]) for plugin in (library, None)
    )
    assert not with_plugin.functions and without.functions
    assert typed(file, precision, (), "tensorrt", library)[2] == sum(is_step(node) for node in without.graph.node)
