"""Mask R-CNN's static form and its ONNX file against torchvision's own detector, operator by operator too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torchvision.ops import batched_nms, roi_align

from edgeseg.errors import ModelError, UsageError
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.instances import build_instances
from edgeseg.export.static_detector import StaticDetector, Suppress
from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.models import build_instance

TINY = {"width": 16, "hidden": 32, "mask_depth": 1, "blocks": [1] * 6, "ratio": [0.1] * 6, "stem": 8}
HEIGHT, WIDTH, ROWS = 128, 160, 20


def network(classes: int = 3) -> Any:
    """Random weights, spread so that scores and boxes differ and many boxes overlap."""
    torch.manual_seed(1)
    made: Any = build_instance("maskrcnn_efficientnet_lite0", classes=classes, proposals=60, **TINY).eval()
    heads, rpn = made.detector.roi_heads, made.detector.rpn.head
    with torch.no_grad():
        for layer, factor in ((heads.box_predictor.cls_score, 40.0), (heads.box_predictor.bbox_pred, 20.0)):
            layer.weight.mul_(factor)
        rpn.cls_logits.weight.mul_(200.0)
        rpn.bbox_pred.weight.mul_(60.0)
    heads.detections_per_img = ROWS
    return made


def pictures(count: int) -> torch.Tensor:
    return torch.randn(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def file() -> onnx.ModelProto:
    manifest = Manifest("toy", class_map(["background", "a", "b"]), HEIGHT, WIDTH)
    return build_instances(network(), manifest)


@torch.no_grad()
def test_the_static_form_finds_what_torchvision_finds() -> None:
    made, x = network(), pictures(2)
    expected = made(x)
    boxes, scores, classes, masks = StaticDetector(made, HEIGHT, WIDTH, ROWS)(x)
    assert masks.shape == (2, ROWS, 28, 28)
    assert [len(item["scores"]) for item in expected] != [0, 0]
    for k, item in enumerate(expected):
        count = len(item["scores"])
        torch.testing.assert_close(scores[k, :count], item["scores"])
        torch.testing.assert_close(boxes[k, :count], item["boxes"], atol=1e-3, rtol=1e-5)
        assert classes[k, :count].tolist() == item["labels"].tolist()
        assert not scores[k, count:].any() and not boxes[k, count:].any() and not classes[k, count:].any()


@torch.no_grad()
def test_masks_are_those_of_the_detected_class() -> None:
    made, x = network(), pictures(1)
    boxes, _, classes, masks = StaticDetector(made, HEIGHT, WIDTH, ROWS)(x)
    heads = made.detector.roi_heads
    maps = made.detector.backbone(x)
    logits = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(maps, [boxes[0]], [(HEIGHT, WIDTH)])))
    for row in range(ROWS):
        if classes[0, row]:
            expected = logits[row, classes[0, row].long()].sigmoid()
            torch.testing.assert_close(masks[0, row], expected, atol=1e-5, rtol=1e-4)


def test_the_file_gives_what_torch_gives(file: onnx.ModelProto) -> None:
    made = network()
    image = np.random.default_rng(3).integers(0, 256, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (made.mean, made.std))
    x = (torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2).float() - mean) / std
    with torch.no_grad():
        expected = StaticDetector(made, HEIGHT, WIDTH, ROWS)(x)
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": image})
    assert [item.name for item in session.get_outputs()] == ["boxes", "scores", "classes", "masks"]
    assert [value.dtype for value in got] == [np.float32, np.float32, np.int32, np.float32]
    np.testing.assert_allclose(got[1], expected[1].numpy(), atol=1e-4)
    np.testing.assert_allclose(got[0], expected[0].numpy(), atol=0.05)
    assert np.array_equal(got[2], expected[2].numpy())
    np.testing.assert_allclose(got[3], expected[3].numpy(), atol=1e-3)


def test_no_shape_depends_on_the_picture(file: onnx.ModelProto) -> None:
    shapes = {
        item.name: [d.dim_value or d.dim_param for d in item.type.tensor_type.shape.dim] for item in file.graph.output
    }
    assert shapes == {
        "boxes": ["N", ROWS, 4],
        "scores": ["N", ROWS],
        "classes": ["N", ROWS],
        "masks": ["N", ROWS, 28, 28],
    }
    assert {node.domain for node in file.graph.node} == {""}
    kinds = [node.op_type for node in file.graph.node]
    assert kinds.count("RoiAlign") == 8 and kinds.count("NonMaxSuppression") == 3
    properties = {item.key: item.value for item in file.metadata_props}
    manifest = Manifest.from_json(properties[METADATA_KEY])
    assert (manifest.task, manifest.max_detections) == ("instance", ROWS)


BOXES = {
    "random": lambda rng: np.sort(rng.uniform(0, 100, (40, 2, 2)), 1).reshape(40, 4),
    "outside": lambda rng: np.sort(rng.uniform(-60, 160, (40, 2, 2)), 1).reshape(40, 4),
    "degenerate": lambda rng: np.repeat(rng.uniform(0, 100, (40, 1, 2)), 2, 1).reshape(40, 4),
}


@pytest.mark.parametrize("kind", BOXES)
def test_the_file_s_region_align_is_torchvision_s(file: onnx.ModelProto, kind: str) -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(3, 5, 25, 25)).astype(np.float32)
    boxes = BOXES[kind](rng).astype(np.float32)
    images = rng.integers(0, 3, 40)
    for node in file.graph.node:
        if node.op_type != "RoiAlign":
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        got = run_alone(node, [features, boxes, images])
        numbered = torch.from_numpy(np.concatenate([images[:, None].astype(np.float32), boxes], 1))
        size, scale = attributes["output_height"], attributes["spatial_scale"]
        expected = roi_align(torch.from_numpy(features), numbered, size, scale, attributes["sampling_ratio"])
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", BOXES)
def test_the_file_s_suppression_is_torchvision_s(file: onnx.ModelProto, kind: str) -> None:
    rng = np.random.default_rng(5)
    boxes = np.stack([BOXES[kind](rng) for _ in range(2)]).astype(np.float32)
    scores = rng.permutation(2 * 3 * 40).reshape(2, 3, 40).astype(np.float32) / 240
    for node in file.graph.node:
        if node.op_type != "NonMaxSuppression":
            continue
        known = {item.name: onnx.numpy_helper.to_array(item) for item in file.graph.initializer}
        most, overlap, least = (known[name] for name in node.input[2:])
        survivors = run_alone(node, [boxes, scores, most, overlap, least])
        flat, rows = torch.from_numpy(scores).reshape(-1), torch.arange(6).repeat_interleave(40)
        every = torch.from_numpy(boxes).repeat_interleave(3, 0).reshape(-1, 4)
        above = (flat > float(least[0])).nonzero()[:, 0]
        expected = above[batched_nms(every[above], flat[above], rows[above], float(overlap[0]))]
        assert {tuple(row) for row in survivors} == {(int(i) // 120, int(i) // 40 % 3, int(i) % 40) for i in expected}
        eager = Suppress(float(overlap[0]), float(least[0]))(torch.from_numpy(boxes), torch.from_numpy(scores))
        kept = np.zeros_like(scores)
        kept[tuple(survivors.T)] = scores[tuple(survivors.T)]
        assert np.array_equal(eager.numpy(), kept)


def run_alone(node: onnx.NodeProto, inputs: list[np.ndarray]) -> np.ndarray:
    """One node of the file on inputs of its own."""
    names = [f"in{k}" for k in range(len(inputs))]
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    alone.input[:], alone.output[:] = names, ["out"]
    values = [helper.make_tensor_value_info(n, kinds[v.dtype], v.shape) for n, v in zip(names, inputs, strict=True)]
    result = TensorProto.INT64 if node.op_type == "NonMaxSuppression" else TensorProto.FLOAT
    graph = helper.make_graph([alone], "alone", values, [helper.make_tensor_value_info("out", result, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return found


@pytest.mark.parametrize(
    ("classes", "size", "rows", "message"),
    [
        (["background", "a"], (HEIGHT, WIDTH), 0, "3 and 2"),
        (["background", "a", "b"], (HEIGHT, WIDTH), 500, "500 detections of 60 proposals"),
    ],
)
def test_what_does_not_fit_is_an_error(classes: list[str], size: tuple[int, int], rows: int, message: str) -> None:
    manifest = Manifest("toy", class_map(classes), *size, max_detections=rows)
    with pytest.raises(ModelError, match=message):
        build_instances(network(), manifest)


def test_a_size_that_does_not_fit_names_one_that_does() -> None:
    with pytest.raises(UsageError, match=r"100x150. Give 96x160"):
        build_instances(network(), Manifest("toy", class_map(["background", "a", "b"]), 100, 150))


def test_openvino_reads_the_file(file: onnx.ModelProto, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    image = np.random.default_rng(3).integers(0, 256, (1, HEIGHT, WIDTH, 3)).astype(np.uint8)
    graph = openvino.Core().read_model(file.SerializeToString())
    compiled = openvino.Core().compile_model(graph, "CPU")
    got = compiled([image])
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": image})
    np.testing.assert_allclose(got["scores"], expected[1], atol=1e-3)
