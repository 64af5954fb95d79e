"""Instances in the frame: small masks pasted as torch samples them, boxes undone, the best score on top."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from edgeseg.errors import ModelError, UsageError
from edgeseg.instance_masks import paste_window, run_lengths, whole
from edgeseg.manifest import INSTANCE_OUTPUTS, Manifest
from edgeseg.runtime.geometry import fit_geometry
from edgeseg.runtime.postprocess_instances import InstancePostprocessor
from edgeseg.runtime.sinks.jsonl import line
from edgeseg.types import ClassInfo, Frame, Instances, Result

# pycocotools 2.0.11 has NumPy 1's signature of __array__.
LIBRARY_WARNS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CLASSES = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "cat", (0, 0, 255)), ClassInfo(2, "dog", (255, 0, 0)))


def manifest(**changes: Any) -> Manifest:
    body: dict[str, Any] = {"task": "instance", "outputs": INSTANCE_OUTPUTS, "max_detections": 4}
    return Manifest("pets", CLASSES, 64, 96, **(body | changes))


def outputs() -> dict[str, np.ndarray]:
    """A cat and a dog behind it, a third below the threshold, an unused row."""
    return {
        "boxes": np.array([[[10, 10, 40, 40], [20, 10, 80, 60], [0, 0, 90, 60], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0.8, 0.3, 0.0]], np.float32),
        "classes": np.array([[1, 2, 1, 0]], np.int32),
        "masks": np.ones((1, 4, 28, 28), np.float32),
    }


@pytest.mark.parametrize(
    "box", [(3.2, 5.7, 60.1, 44.4), (-20.5, 10, 30, 80.25), (10, 10, 12.5, 11.2), (50, 40, 140, 90)]
)
def test_masks_are_pasted_as_torch_samples_them(box: tuple[float, ...]) -> None:
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    rng = np.random.default_rng(0)
    small = rng.random((28, 28)).astype(np.float32)
    # Detectron2's rule: the frame's pixel centres, normalized to the box, looked up by grid_sample.
    x = ((np.arange(100) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1).astype(np.float32)
    y = ((np.arange(72) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1).astype(np.float32)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), -1))[None]
    source = torch.from_numpy(small)[None, None]
    values = torch.nn.functional.grid_sample(source, grid, align_corners=False)[0, 0].numpy()
    mask = whole(paste_window(small, np.array(box, np.float32), 72, 100), 72, 100)
    # cv2 looks up at 1/32 of a small mask's pixel: near the cut either is right.
    clear = np.abs(values - 0.5) > 0.04
    inside = np.zeros_like(clear)
    inside[max(0, int(box[1])) : int(np.ceil(box[3])), max(0, int(box[0])) : int(np.ceil(box[2]))] = True
    assert np.array_equal(mask[clear & inside], (values >= 0.5)[clear & inside])
    assert not mask[~inside].any()
    assert (clear & inside).sum() > 0.8 * inside.sum()


@pytest.mark.parametrize("box", [(5, 5, 5, 20), (30, 30, 20, 40), (200, 5, 240, 20), (5, -40, 20, -1)])
def test_a_box_without_area_in_the_frame_has_no_mask(box: tuple[float, ...]) -> None:
    window = paste_window(np.ones((28, 28), np.float32), np.array(box, np.float32), 50, 60)
    assert not whole(window, 50, 60).any()


@LIBRARY_WARNS
def test_run_lengths_are_those_of_coco() -> None:
    rng = np.random.default_rng(1)
    for mask in (rng.random((13, 7)) < 0.4, np.ones((3, 4), bool), np.zeros((3, 4), bool), np.ones((1, 1), bool)):
        code = run_lengths(mask)
        back = coco_masks.decode(coco_masks.frPyObjects(code, *code["size"]))
        assert np.array_equal(back.astype(bool), mask)
        assert sum(code["counts"]) == mask.size


def test_boxes_come_back_to_a_stretched_frame() -> None:
    answer = InstancePostprocessor(manifest())(outputs(), fit_geometry("stretch", 128, 96, 64, 96))
    assert answer.instances is not None
    assert answer.instances.boxes.tolist() == [[10, 20, 40, 80], [20, 20, 80, 120]]
    assert answer.instances.scores.tolist() == pytest.approx([0.9, 0.8])
    assert answer.label_map.shape == (128, 96)
    assert answer.probability is None


def test_boxes_come_back_to_a_letterboxed_frame() -> None:
    # 64x64 of the input's 96 columns show the frame, 16 columns are border.
    answer = InstancePostprocessor(manifest(fit="letterbox"))(outputs(), fit_geometry("letterbox", 128, 128, 64, 96))
    assert answer.instances is not None
    assert answer.instances.boxes[0].tolist() == [-12, 20, 48, 80]


def test_the_best_score_lies_on_top() -> None:
    labels = InstancePostprocessor(manifest())(outputs(), fit_geometry("stretch", 64, 96, 64, 96)).label_map
    assert labels[20, 30] == 1 and labels[50, 30] == 2 and labels[20, 60] == 2 and labels[5, 5] == 0


def test_a_threshold_decides_which_instances_count() -> None:
    geometry = fit_geometry("stretch", 64, 96, 64, 96)
    counts = {}
    for threshold in (0.0, 0.3, 0.85, 1.0):
        answer = InstancePostprocessor(manifest(), threshold)(outputs(), geometry)
        assert answer.instances is not None
        counts[threshold] = len(answer.instances)
    # A row with score 0 is none, whatever the threshold; 0.3 is stored as a float a hair above.
    assert counts == {0.0: 3, 0.3: 3, 0.85: 1, 1.0: 0}


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(UsageError, match="outside 0 to 1"):
        InstancePostprocessor(manifest(), 1.5)
    with pytest.raises(ModelError, match="lacks an output: masks"):
        InstancePostprocessor(manifest(outputs=("boxes", "scores", "classes")))


def result() -> Result:
    image = np.full((64, 96, 3), 128, np.uint8)
    answer = InstancePostprocessor(manifest())(outputs(), fit_geometry("stretch", 64, 96, 64, 96))
    return Result(*answer, Frame(image, 0, 0), CLASSES)


@LIBRARY_WARNS
def test_lines_hold_the_instances() -> None:
    body = json.loads(json.dumps(line(result(), live=False)))
    assert [(item["class"], item["score"]) for item in body["instances"]] == [("cat", 0.9), ("dog", 0.8)]
    assert body["instances"][0]["box"] == [10.0, 10.0, 40.0, 40.0]
    code = body["instances"][0]["rle"]
    mask = coco_masks.decode(coco_masks.frPyObjects(code, *code["size"]))
    assert mask.sum() == 30 * 30 and mask[10:40, 10:40].all()


def test_the_overlay_tints_each_instance_in_its_class_colour() -> None:
    drawn = result().overlay().astype(int)
    assert drawn[20, 25, 2] > 150 > drawn[20, 25, 0]
    assert drawn[50, 60, 0] > 150 > drawn[50, 60, 2]
    assert (drawn[5, 5] == 128).all()
    only = result().overlay(classes=["dog"]).astype(int)
    assert (only[15, 12] == 128).all() and only[50, 60, 0] > 150


def test_two_of_one_class_stand_apart_where_they_touch() -> None:
    side_by_side = outputs()
    side_by_side["classes"][...] = 1
    side_by_side["boxes"][0, :2] = [[10, 10, 40, 40], [40, 10, 70, 40]]
    side_by_side["scores"][0, 2:] = 0.0
    image = np.full((64, 96, 3), 128, np.uint8)
    answer = InstancePostprocessor(manifest())(side_by_side, fit_geometry("stretch", 64, 96, 64, 96))
    drawn = Result(*answer, Frame(image, 0, 0), CLASSES).overlay().astype(int)
    assert answer.label_map[25, 20:60].all()
    red = drawn[25, :, 2]
    assert min(red[25], red[55]) > red[39:42].min() + 50


def test_an_instance_outside_of_the_frame_is_not_drawn() -> None:
    far = outputs()
    far["boxes"][0, 0] = [-80, -60, -10, -5]
    image = np.full((64, 96, 3), 128, np.uint8)
    answer = InstancePostprocessor(manifest(), 0.85)(far, fit_geometry("stretch", 64, 96, 64, 96))
    assert answer.instances is not None and len(answer.instances) == 1
    assert not answer.label_map.any()
    assert (Result(*answer, Frame(image, 0, 0), CLASSES).overlay() == 128).all()


def test_a_class_alone_uncovers_what_lay_below() -> None:
    from edgeseg.cli.running import OnlyClasses

    class Keep:
        def write(self, result: Result) -> None:
            self.result = result

        def close(self) -> None: ...

    keep = Keep()
    whole = result()
    assert whole.label_map[20, 30] == 1
    OnlyClasses([keep], CLASSES, ["dog"]).write(whole)
    assert keep.result.instances is not None
    assert keep.result.instances.classes.tolist() == [2]
    assert keep.result.label_map[20, 30] == 2 and keep.result.label_map[15, 12] == 0
    assert keep.result.instances.mask(0)[20, 30] and not keep.result.instances.mask(0)[15, 12]


def test_masks_are_pasted_once() -> None:
    found = result().instances
    assert found is not None
    assert found.window(0) is found.window(0)
    assert found.masks.shape == (2, 64, 96)
    none = Instances(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0,), (0,), (0, 28, 28))), (4, 5))  # type: ignore[arg-type]
    assert none.masks.shape == (0, 4, 5)


def check_the_command_line(folder: Path) -> None:
    """`run` and `eval` with an instance model, through their own entry."""
    from edgeseg.cli.main import main

    for name in ("images", "masks"):
        (folder / "set" / name).mkdir(parents=True)
    mask = np.zeros((64, 96), np.uint8)
    mask[10:40, 20:60] = 1
    for stem in "ab":
        image = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "set" / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(folder / "set" / "masks" / f"{stem}.png"), mask)
    (folder / "set" / "val.txt").write_text("a b")
    model = ["--model", str(folder / "toy.onnx"), "--backend", "onnxruntime"]
    lines, masks = folder / "lines.jsonl", folder / "out"
    pictures = str(folder / "set" / "images")
    common = [*model, "--threshold", "0", "--jsonl", str(lines), "--masks", str(masks)]
    assert main(["run", pictures, *common, "--classes", "box"]) == 0
    bodies = [json.loads(text) for text in lines.read_text().splitlines()]
    assert len(bodies) == 2 and all(body["instances"] for body in bodies)
    assert set(bodies[0]["instances"][0]) == {"box", "score", "class", "rle"}
    assert len(list(masks.iterdir())) == 2
    assert (
        main(["eval", *model, "--data", str(folder / "set"), "--split", "val", "--json", str(folder / "e.json")]) == 0
    )
    figures = json.loads((folder / "e.json").read_text())
    assert figures["instances"] == 2 and 0.0 <= figures["mask_ap"] <= 1.0
    assert main(["eval", *model, "--data", str(folder / "set"), "--split", "val", "--format", "labels"]) == 2
    ranges = ["--ranges", str(folder / "none.json"), "-o", str(folder / "int8.onnx"), "--frames", pictures]
    assert main(["quantize", str(folder / "toy.onnx"), *ranges]) == 2


def test_the_file_of_a_model_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    import torch

    from edgeseg.export.from_checkpoint import class_map
    from edgeseg.export.to_onnx import export_onnx
    from edgeseg.models import build_instance
    from edgeseg.runtime.segmenter import open_segmenter

    torch.manual_seed(0)
    tiny = {"width": 16, "hidden": 32, "mask_depth": 1, "blocks": [1] * 6, "ratio": [0.1] * 6, "stem": 8}
    network = build_instance("maskrcnn_efficientnet_lite0", proposals=50, max_detections=10, **tiny).eval()
    plain = Manifest("toy", class_map(["background", "box"]), 64, 96, task="instance")
    report = export_onnx(network, plain, tmp_path / "toy.onnx")
    assert report.detections > 0
    check_the_command_line(tmp_path)
    with open_segmenter(str(tmp_path / "toy.onnx"), "onnxruntime", threshold=0.0) as segmenter:
        found = segmenter(np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8))
    assert found.instances is not None and 0 < len(found.instances) <= 10
    assert found.label_map.shape == (120, 160)
    assert found.instances.masks.shape == (len(found.instances), 120, 160)
