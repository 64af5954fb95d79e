"""The decoder's fused step in ONNX against torch, in every runtime, over odd sizes and real crops."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from export_helpers import run_onnxruntime, run_openvino, run_reference
from onnx import TensorProto, helper, inliner

from edgeseg.errors import ModelError
from edgeseg.export import fused_step
from edgeseg.models.ops import upsample_crop_concat

# (deep rows and columns, extra rows and columns of the skip beyond the upsampled map)
SIZES = [((1, 1), (0, 0)), ((5, 7), (0, 0)), ((5, 7), (1, 2)), ((4, 3), (3, 5)), ((2, 9), (0, 4))]


def make_model(
    steps: int = 1, scale: int = 2, modes: tuple[str, ...] = ("bilinear",), sizes: tuple[object, ...] = ()
) -> onnx.ModelProto:
    """`deep`, `skip` -> `out`, through `steps` fused steps that all take the same skip; shapes unknown unless given."""
    nodes, tensor = [], "deep"
    for index in range(steps):
        mode, out = modes[index % len(modes)], "out" if index == steps - 1 else f"out{index}"
        attributes = {"scale": scale, "mode": mode, **fused_step.PLUGIN}
        name = f"step{index}"
        nodes.append(
            helper.make_node(fused_step.OP_TYPE, [tensor, "skip"], [out], name, domain=fused_step.DOMAIN, **attributes)
        )
        tensor = out
    deep_size, skip_size = sizes or (("h", "w"), ("H", "W"))
    inputs = [
        helper.make_tensor_value_info("deep", TensorProto.FLOAT, ["N", 3, *deep_size]),  # type: ignore[misc]
        helper.make_tensor_value_info("skip", TensorProto.FLOAT, ["N", 5, *skip_size]),  # type: ignore[misc]
    ]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", None, None, None])]
    graph = helper.make_graph(nodes, "steps", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_one_function_serves_all_shapes_in_every_runtime(mode: str, scale: int) -> None:
    model = make_model(scale=scale, modes=(mode,))
    fused_step.attach(model)
    onnx.checker.check_model(model, full_check=True)
    flat = inliner.inline_local_functions(model)
    rng = np.random.default_rng(scale)
    for (rows, columns), (more_rows, more_columns) in SIZES:
        deep = rng.standard_normal((2, 3, rows, columns)).astype(np.float32)
        skip = rng.standard_normal((2, 5, rows * scale + more_rows, columns * scale + more_columns)).astype(np.float32)
        feeds = {"deep": deep, "skip": skip}
        expected = upsample_crop_concat(torch.from_numpy(deep), torch.from_numpy(skip), scale, mode).numpy()
        for got in (run_onnxruntime(model, feeds), run_reference(model, feeds), run_openvino(flat, feeds)):
            np.testing.assert_allclose(got["out"], expected, atol=1e-5)


@pytest.mark.parametrize("missing", [(1, 0), (0, 1), (2, 2), (4, 0)])
def test_a_skip_that_is_too_small_is_an_error(missing: tuple[int, int]) -> None:
    model = make_model()
    fused_step.attach(model)
    feeds = {
        "deep": np.zeros((1, 3, 4, 4), np.float32),
        "skip": np.zeros((1, 5, 8 - missing[0], 8 - missing[1]), np.float32),
    }
    with pytest.raises(Exception, match="(?i)concat"):
        run_onnxruntime(model, feeds)
    fixed = make_model(sizes=((4, 4), (8 - missing[0], 8 - missing[1])))
    with pytest.raises(ModelError, match="step0"):
        fused_step.inline(fixed)


def test_known_shapes_inline_to_resize_and_concat_alone() -> None:
    model = make_model(steps=2, sizes=((2, 3), (8, 12)))
    flat = fused_step.inline(model)
    onnx.checker.check_model(flat, full_check=True)
    assert [node.op_type for node in flat.graph.node] == ["Resize", "Slice", "Concat", "Resize", "Concat"]
    assert not flat.functions and {item.domain for item in flat.opset_import} == {""}
    fused_step.attach(model)
    feeds = {
        "deep": np.random.default_rng(1).random((1, 3, 2, 3), np.float32),
        "skip": np.ones((1, 5, 8, 12), np.float32),
    }
    np.testing.assert_allclose(run_onnxruntime(flat, feeds)["out"], run_onnxruntime(model, feeds)["out"], atol=1e-6)


def test_unknown_shapes_inline_to_the_functions_body() -> None:
    flat = fused_step.inline(make_model())
    assert not flat.functions and all(node.domain == "" for node in flat.graph.node)
    feeds = {"deep": np.ones((1, 3, 3, 2), np.float32), "skip": np.zeros((1, 5, 7, 5), np.float32)}
    assert run_onnxruntime(flat, feeds)["out"].shape == (1, 8, 6, 4)


def test_two_modes_need_inlining() -> None:
    model = make_model(steps=2, modes=("bilinear", "nearest"), sizes=((2, 2), (8, 8)))
    with pytest.raises(ModelError, match="--inline"):
        fused_step.attach(model)
    modes = [node.attribute for node in fused_step.inline(model).graph.node if node.op_type == "Resize"]
    assert [next(item.s for item in attributes if item.name == "mode") for attributes in modes] == [
        b"linear",
        b"nearest",
    ]


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ModelError, match="cubic"):
        fused_step.function("cubic")
