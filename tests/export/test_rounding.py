"""Weights are rounded so that outputs stay: against every way to round, torch's unfold, and nearest steps in a file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.frames import FrameSet
from edgeseg.errors import ModelError
from edgeseg.export import rounding
from edgeseg.export.quantize import quantize
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.segmenter import manifest_of
from edgeseg.runtime.sources import DEMO_CLIP
from edgeseg.runtime.zoo import find_model


def error(weight: npt.NDArray[np.float64], steps: npt.NDArray[np.float64], moments: npt.NDArray[np.float64]) -> float:
    left = weight - steps
    return float(np.einsum("oi,ij,oj->", left, moments, left))


def test_near_the_best_of_all_ways_to_round() -> None:
    rng = np.random.default_rng(3)
    lost = {"nearest": 0.0, "made": 0.0, "best": 0.0}
    for _ in range(20):
        # Inputs that go together, as pixels do.
        seen = rng.normal(size=(200, 1)) + 0.3 * rng.normal(size=(200, 7)) + 0.5
        moments = seen.T @ seen / len(seen)
        weight = rng.uniform(-5, 5, (1, 7))
        made = rounding.rounded(weight, np.ones(1), 63, moments)
        assert made.dtype == np.int8
        ways = [np.floor(weight) + np.array([way]) for way in product((0, 1), repeat=7)]
        lost["best"] += min(error(weight, way, moments) for way in ways)
        lost["nearest"] += error(weight, np.rint(weight), moments)
        lost["made"] += error(weight, made.astype(np.float64), moments)
    assert lost["best"] <= lost["made"] < 1.1 * lost["best"] < 0.5 * lost["nearest"]


def test_steps_stay_within_the_levels_and_whole_ones_stay() -> None:
    moments = np.full((4, 4), 0.9) + 0.1 * np.eye(4)
    weight = np.array([[63.4, 63.4, 63.4, 63.4], [1.0, -63.0, 7.0, 0.0]])
    made = rounding.rounded(weight, np.ones(2), 63, moments)
    assert np.abs(made).max() == 63 and made[1].tolist() == [1, -63, 7, 0]
    # Nothing was ever seen: each goes to its nearest step.
    assert rounding.rounded(weight, np.ones(2), 63, np.zeros((4, 4)))[0].tolist() == [63] * 4
    with pytest.raises(ModelError, match="not finite"):
        rounding.rounded(weight, np.ones(2), 63, np.full((4, 4), np.nan))


@pytest.mark.parametrize(
    ("groups", "stride", "dilation", "padding"), [(1, 1, 1, 1), (1, 2, 1, 0), (4, 1, 2, 2), (2, 2, 1, 1)]
)
def test_moments_are_those_of_unfolded_inputs(groups: int, stride: int, dilation: int, padding: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 4 // groups, 3, 3)).astype(np.float32)
    attributes = {"group": groups, "strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [padding] * 4}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["y"], name="layer", **attributes),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 15, 17, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "one", [given], [y], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    pictures = [rng.integers(0, 256, (1, 15, 17, 4), np.uint8) for _ in range(3)]
    found = rounding.second_moments(model, [graph.node[2]], pictures)["w"]
    planes = torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2).double()
    columns = torch.nn.functional.unfold(planes, 3, dilation=dilation, padding=padding, stride=stride)
    seen = columns.permute(0, 2, 1).reshape(-1, groups, 4 // groups * 9).numpy()
    assert found == pytest.approx(np.einsum("ngi,ngj->gij", seen, seen) / len(seen), rel=1e-12)


def test_the_shipped_answer_comes_nearer_to_float(tmp_path: Path) -> None:
    """Calibrated and rounded on some frames of the clip that ships, compared on others."""
    model = find_model("person").files["fp32"]
    pictures = [image for image, _ in FrameSet(DEMO_CLIP, stride=8, count=None).inputs(manifest_of(model))]
    known, others = pictures[::2], pictures[1::2]
    ranges = calibrate(model, FrameSet(DEMO_CLIP, stride=16, count=None))
    quantize(model, ranges, tmp_path / "nearest.onnx")
    quantize(model, ranges, tmp_path / "rounded.onnx", pictures=known, biases=False)
    wanted = answers(model, others)
    distance = {}
    for kind, count in (("nearest", 0), ("rounded", len(known))):
        quantization = manifest_of(tmp_path / f"{kind}.onnx").origin["quantization"]
        assert quantization["weights_rounded_on"] == count and quantization["biases_corrected_on"] == 0
        distance[kind] = float(np.square(answers(tmp_path / f"{kind}.onnx", others) - wanted).mean())
    assert distance["rounded"] < 0.8 * distance["nearest"], distance


def answers(path: Path, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
    with load_backend(path, "onnxruntime") as backend:
        return np.concatenate([backend.infer({"image": one})["probability"].astype(np.float64) for one in pictures])
