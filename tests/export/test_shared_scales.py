"""Scales shared around concatenations and sums, on MobileNetV2's residual blocks: what is equal, saved and lost."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from export_helpers import Exported, run_onnxruntime, run_openvino, run_reference

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.calib.ranges import Ranges
from edgeseg.errors import UsageError
from edgeseg.export import fused_step
from edgeseg.export import graph as g
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.quantize import plan, quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import Manifest
from edgeseg.models import build
from edgeseg.train.start import normalize

SIZE = 64


@pytest.fixture(scope="module")
def pictures() -> npt.NDArray[np.uint8]:
    """uint8 [N, 64, 64, 3], BGR."""
    return np.stack([cv2.resize(picture, (SIZE, SIZE)) for picture in sample_pictures(96, 96)]).astype(np.uint8)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory, pictures: npt.NDArray[np.uint8]) -> tuple[Path, Ranges]:
    """A `unet_lite` on MobileNetV2 in standard operators, its norms fitted to some pictures; and its ranges."""
    folder = tmp_path_factory.mktemp("mobile")
    torch.manual_seed(3)
    model = build("unet_lite", classes=3, encoder="mobilenet_v2", multiplier=0.35, decoder=[16, 16, 8])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            torch.nn.init.uniform_(layer.bias, -0.5, 1.0)
    with torch.no_grad():
        rgb = np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2))
        model.train()(normalize(torch.from_numpy(rgb), model))
    manifest = Manifest("mobile", class_map(["a", "b", "c"]), SIZE, SIZE, outputs=("label_map", "logits"))
    path = folder / "model.onnx"
    export_onnx(model.eval(), manifest, path, inline=True)
    (folder / "frames").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / "frames" / f"{number}.png"), picture)
    return path, calibrate(path, folder / "frames")


def executed(path: Path) -> Counter[str]:
    """The kinds of layers that OpenVINO runs on the CPU, with their number."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = fused_step.inline(onnx.load(path)).SerializeToString()
    compiled = core.compile_model(core.read_model(model, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [str(node.get_rt_info()["layerType"].astype(str)) for node in compiled.get_runtime_model().get_ops()]
    return Counter(kind for kind in kinds if kind != "Const")


def agreement(path: Path, other: Path, pictures: npt.NDArray[np.uint8]) -> float:
    """Share of equal labels, by ONNX Runtime."""
    one, two = (run_onnxruntime(onnx.load(each), {"image": pictures})["label_map"] for each in (path, other))
    return float(np.mean(one == two))


def scale_of(model: onnx.ModelProto, tensor: str) -> float:
    """Of the pair that made a dequantized tensor, or that stands behind a float one."""
    made, readers, known = g.producers(model.graph), g.consumers(model.graph), g.weights(model.graph)
    node = made[tensor] if made[tensor].op_type == "DequantizeLinear" else readers[tensor][0]
    return float(g.array(known[node.input[1]]))


def test_a_concatenation_has_one_scale_and_needs_no_rounding_of_its_own(
    mobile: tuple[Path, Ranges], pictures: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    path, ranges = mobile
    quantize(path, ranges, tmp_path / "apart.onnx", unify=())
    quantize(path, ranges, tmp_path / "default.onnx")
    pairs: dict[str, list[bool]] = {}
    for name in ("apart", "default"):
        model = onnx.load(tmp_path / f"{name}.onnx")
        made = g.producers(model.graph)
        joints = [node for node in model.graph.node if node.op_type == "Concat"]
        skips = [(node, t) for node in joints for t in node.input if made[t].op_type == "DequantizeLinear"]
        assert len(skips) == 3, "the decoder's three skips have pairs of their own"
        pairs[name] = [scale_of(model, skip) == scale_of(model, node.output[0]) for node, skip in skips]
    assert pairs == {"apart": [False] * 3, "default": [True] * 3}
    # One pass over each skip less; nothing else changes in what is run.
    before, after = executed(tmp_path / "apart.onnx"), executed(tmp_path / "default.onnx")
    assert before - after == Counter(FakeQuantize=3) and not after - before
    apart, default = (agreement(path, tmp_path / f"{name}.onnx", pictures) for name in ("apart", "default"))
    assert default > 0.75 and default > apart - 0.02


@pytest.mark.parametrize("unify", [("concat",), ("concat", "residual")], ids="-".join)
def test_it_runs_as_the_reference_says(
    mobile: tuple[Path, Ranges], pictures: npt.NDArray[np.uint8], tmp_path: Path, unify: tuple[str, ...]
) -> None:
    quantize(*mobile, tmp_path / "int8.onnx", unify=unify)
    model, feeds = onnx.load(tmp_path / "int8.onnx"), {"image": pictures[:2]}
    expected = run_reference(model, feeds)
    exact = run_onnxruntime(onnx.load(mobile[0]), feeds)["logits"]
    rounding = np.abs(exact - expected["logits"]).mean()
    # Sixty untrained layers make a last bit large where it decides between two levels; plain, since the optimizer of
    # ONNX Runtime changes more of them.
    for run in (partial(run_onnxruntime, plain=True), run_openvino):
        found = run(model, feeds)
        assert np.mean(found["label_map"] == expected["label_map"]) > 0.95
        assert np.abs(found["logits"] - expected["logits"]).mean() < 0.3 * rounding


def test_residual_sums_share_a_scale_only_when_asked_to_and_save_nothing(
    mobile: tuple[Path, Ranges], pictures: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    path, ranges = mobile
    quantize(path, ranges, tmp_path / "default.onnx")
    quantize(path, ranges, tmp_path / "residual.onnx", unify=("concat", "residual"))
    pairs: dict[str, list[bool]] = {}
    for name in ("default", "residual"):
        model = onnx.load(tmp_path / f"{name}.onnx")
        made = g.producers(model.graph)
        sums = [node for node in model.graph.node if node.op_type == "Add" and made[node.input[1]].op_type == "Conv"]
        assert len(sums) == 10 and all(made[node.input[0]].op_type == "DequantizeLinear" for node in sums)
        pairs[name] = [scale_of(model, node.input[0]) == scale_of(model, node.output[0]) for node in sums]
    assert not any(pairs["default"]) and all(pairs["residual"])
    assert executed(tmp_path / "residual.onnx") == executed(tmp_path / "default.onnx")
    default, residual = (agreement(path, tmp_path / f"{name}.onnx", pictures) for name in ("default", "residual"))
    assert residual > default - 0.05


def test_files_with_fused_steps_stay_as_they_were(person: Exported, ranges: Ranges, tmp_path: Path) -> None:
    """What ships holds no bare concatenation, so the default changes nothing in its graph."""
    quantize(person.path, ranges, tmp_path / "default.onnx")
    quantize(person.path, ranges, tmp_path / "none.onnx", unify=())
    default, none = (onnx.load(tmp_path / f"{name}.onnx") for name in ("default", "none"))
    assert default.graph.SerializeToString() == none.graph.SerializeToString()
    notes = [read_model(tmp_path / f"{name}.onnx")[1].origin["quantization"] for name in ("default", "none")]
    assert "shared_scales" not in notes[0] and notes[1] == notes[0] | {"shared_scales": []}
    with pytest.raises(UsageError, match=r"concats.*Did you mean 'concat'"):
        quantize(person.path, ranges, tmp_path / "x.onnx", unify=["concats"])


def test_values_that_only_move_keep_the_scale_of_where_they_come_from() -> None:
    """A crop between pair and concatenation, and a sum behind whose activation the pair stands."""
    node, weight = onnx.helper.make_node, np.ones((2, 2, 1, 1), np.float32)
    nodes = [
        node("Conv", ["a", "w1"], ["deep"], "one"),
        node("Conv", ["b", "w2"], ["wide"], "two"),
        node("Slice", ["b", "from", "to"], ["cut"]),
        node("Concat", ["cut", "deep"], ["joint"], axis=1),
        node("Conv", ["joint", "w3"], ["y"], "three"),
        node("Add", ["a", "y"], ["sum"]),
        node("Relu", ["sum"], ["relu"]),
        node("Conv", ["relu", "w4"], ["z"], "four"),
    ]
    tensors = [onnx.numpy_helper.from_array(weight, name) for name in ("w1", "w2", "w3", "w4")]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "toy", [], [], tensors))
    limits = {"a": (0.0, 1.0), "b": (-3.0, 2.0), "joint": (-2.0, 2.0), "relu": (0.0, 4.0)}
    ranges = Ranges(limits, "minmax", "", "toy", {}, "")
    found = plan(model, ranges, unify=("concat", "residual"))
    assert {name: found.scale(name) * 127 for name in limits} == pytest.approx({"a": 4, "b": 3, "joint": 3, "relu": 4})
    alone = plan(model, ranges, unify=())
    assert {name: alone.scale(name) * 127 for name in limits} == pytest.approx({"a": 1, "b": 3, "joint": 2, "relu": 4})
