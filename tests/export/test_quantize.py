"""The int8 file: where the pairs stand, which scales are shared, and that every runtime computes the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from export_helpers import Exported, run_onnxruntime, run_openvino, run_reference
from onnx import TensorProto

from edgeseg.calib.calibrate import wanted_tensors
from edgeseg.calib.model_file import read_model
from edgeseg.calib.ranges import Ranges
from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.export import fused_step
from edgeseg.export import graph as g
from edgeseg.export.quantize import quantize


def test_every_convolution_and_step_works_on_int8(person: Exported, int8: Path) -> None:
    model, manifest = read_model(int8)
    onnx.checker.check_model(model, full_check=True)
    made, readers, known = g.producers(model.graph), g.consumers(model.graph), g.weights(model.graph)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert made[node.input[0]].op_type == made[node.input[1]].op_type == "DequantizeLinear"
            weight = g.array(known[made[node.input[1]].input[0]])
            assert weight.dtype == np.int8 and g.array(known[node.input[2]]).dtype == np.float32
            depthwise = g.attribute(node, "group", 1) > 1
            # Each channel uses its whole range, which is a bit less where products are added in 16 bits.
            np.testing.assert_array_equal(np.abs(weight).max(axis=(1, 2, 3)), 127 if depthwise else 63)
            assert g.attribute(made[node.input[1]], "axis") == 0
            assert len(g.array(known[made[node.input[1]].input[1]])) == len(weight)
        if fused_step.is_step(node):
            pairs = [made[name] for name in node.input] + readers[node.output[0]]
            assert [pair.op_type for pair in pairs] == ["DequantizeLinear", "DequantizeLinear", "QuantizeLinear"]
            assert len({pair.input[1] for pair in pairs}) == 1, "one scale on deep, skip and output"
        if node.op_type == "QuantizeLinear":
            assert made[node.input[0]].op_type != "Conv" or node.input[0].endswith("project.0"), (
                "only behind activations"
            )
            assert g.array(known[node.input[2]]).dtype == np.int8 and not g.array(known[node.input[2]]).any()
            assert known[node.input[1]].data_type == TensorProto.FLOAT
    assert int8.stat().st_size < 0.5 * person.path.stat().st_size
    assert manifest.precision == "int8" and manifest.origin["quantization"]["kept_float"] == []


def test_all_runtimes_agree_with_the_reference(int8: Path, person: Exported, pictures: npt.NDArray[np.uint8]) -> None:
    """Dense weights of 8 bits fail here on CPUs without VNNI (mean 8, most 72 levels): their kernels saturate."""
    model = onnx.load(int8)
    expected = run_reference(model, {"image": pictures})["probability"].astype(int)
    for got in (
        run_onnxruntime(model, {"image": pictures}),
        run_openvino(fused_step.inline(model), {"image": pictures}),
    ):
        difference = np.abs(got["probability"] - expected)
        assert difference.max() <= 10 and difference.mean() < 0.6
    exact = run_onnxruntime(onnx.load(person.path), {"image": pictures})["probability"]
    assert np.abs(exact - expected).mean() < 3, "int8 must stay near the float file"
    assert np.mean((exact >= 128) == (expected >= 128)) > 0.98


def test_nodes_can_stay_float(person: Exported, ranges: Ranges, tmp_path: Path) -> None:
    keep = ["encoder.stem.0", "steps.1.fuse"]
    result = quantize(person.path, ranges, tmp_path / "mixed.onnx", keep_float=keep, weight_bits=8)
    model, manifest = read_model(tmp_path / "mixed.onnx")
    assert list(result.kept_float) == keep == manifest.origin["quantization"]["kept_float"]
    made = g.producers(model.graph)
    stem = next(node for node in model.graph.node if node.name == keep[0])
    assert stem.input[1] not in made and made[stem.input[0]].op_type != "DequantizeLinear"
    step = next(node for node in model.graph.node if node.name == keep[1])
    assert made[step.input[0]].op_type != "DequantizeLinear"
    head = next(node for node in model.graph.node if node.name == "head")
    assert np.abs(g.array(g.weights(model.graph)[made[head.input[1]].input[0]])).max() == 127
    with pytest.raises(UsageError, match=r"encoder\.stem\.9.*encoder\.stem\.0"):
        quantize(person.path, ranges, tmp_path / "x.onnx", keep_float=["encoder.stem.9"])
    with pytest.raises(UsageError, match="5"):
        quantize(person.path, ranges, tmp_path / "x.onnx", weight_bits=5)


def test_an_inlined_file_can_be_quantized(
    person: Exported, ranges: Ranges, tmp_path: Path, pictures: npt.NDArray[np.uint8]
) -> None:
    flat = tmp_path / "flat.onnx"
    onnx.save(fused_step.inline(onnx.load(person.path)), flat)
    with pytest.raises(ModelError, match="stale or foreign"):
        quantize(flat, ranges, tmp_path / "x.onnx")
    own = dataclasses.replace(ranges, model_sha256=_sha256(flat))
    result = quantize(flat, own, tmp_path / "flat.int8.onnx")
    assert len(result.int8) == sum(node.op_type == "Conv" for node in onnx.load(flat).graph.node)
    got = run_onnxruntime(onnx.load(tmp_path / "flat.int8.onnx"), {"image": pictures})["probability"]
    assert np.abs(got.astype(int) - run_onnxruntime(onnx.load(flat), {"image": pictures})["probability"]).mean() < 3


def test_what_cannot_be_quantized(person: Exported, ranges: Ranges, int8: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fp32"):
        quantize(int8, ranges, tmp_path / "x.onnx")
    with pytest.raises(InputError, match="gone"):
        quantize(person.path, tmp_path / "gone.json", tmp_path / "x.onnx")
    tensors = {name: value for name, value in ranges.tensors.items() if name != "steps.1.fuse"}
    with pytest.raises(ModelError, match=r"steps\.1\.fuse"):
        quantize(person.path, dataclasses.replace(ranges, tensors=tensors), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_calibration_covers_what_quantization_needs(person: Exported, ranges: Ranges) -> None:
    model = onnx.load(person.path)
    assert set(ranges.tensors) == set(wanted_tensors(model))
    assert {tensor for node in model.graph.node if fused_step.is_step(node) for tensor in node.output} <= set(
        ranges.tensors
    )
    assert all(low <= 0 <= high or low > 0 for low, high in ranges.tensors.values())


def _sha256(path: Path) -> str:
    from edgeseg.calib.ranges import file_sha256

    return file_sha256(path)
