"""`verify`: every runtime agrees with torch, and a planted fault is found at the node where it was planted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from export_helpers import Exported

from edgeseg.calib.model_file import read_model
from edgeseg.cli.main import main
from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.export import graph as g
from edgeseg.export.bisect import node_errors
from edgeseg.export.check import sample_pictures
from edgeseg.export.verify import bisect, read_frames, verify
from edgeseg.manifest import METADATA_KEY


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of drawn scenes; the truth is what is bright."""
    root = tmp_path_factory.mktemp("frames")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    pictures = sample_pictures(90, 120)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(root / "images" / f"{number}.png"), picture)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), (picture.mean(axis=2) > 127).astype(np.uint8))
    (root / "val.txt").write_text("\n".join(str(number) for number in range(len(pictures))))
    return root


def planted(source: Path, out: Path, change: Callable[[onnx.ModelProto], str]) -> str:
    """Write a copy with a fault; returns the name of the node that has it."""
    model = onnx.load(source)
    node = change(model)
    onnx.save(model, out)
    return node


def double_a_scale(model: onnx.ModelProto) -> str:
    """One output channel of one convolution, the one with the largest weights."""
    node = next(node for node in model.graph.node if node.name == "encoder.stages.3.0.expand.0")
    name = f"{node.input[1].removesuffix('.float')}.scale"
    scale = g.array(g.weights(model.graph)[name]).copy()
    scale[scale.argmax()] *= 2
    g.put(model.graph, name, scale)
    return str(node.name)


def align_corners(model: onnx.ModelProto) -> str:
    """Every bilinear resize; the decoder's first step comes first."""
    for function in model.functions:
        for node in function.node:
            if node.op_type == "Resize":
                g.set_attribute(node, "coordinate_transformation_mode", "align_corners")
    return "steps.0.fuse"


def test_every_stage_agrees(person: Exported, int8: Path, frames: Path) -> None:
    pictures = read_frames(frames, "val", 4, ["background", "person"])
    report = verify(person.path, int8, pictures, evaluator=True)
    assert report.frames == 4 and not report.notes
    exact = [stage for stage in report.stages if stage.file == "model.onnx"]
    rounded = [stage for stage in report.stages if stage.file == "model.int8.onnx"]
    assert [stage.runtime for stage in exact][-1] == [stage.runtime for stage in rounded][-1] == "reference evaluator"
    for stage in exact:
        assert stage.max_error is not None and stage.max_error < 1e-3 and stage.agreement > 0.999
    for stage in rounded:
        assert stage.mean_error is not None and stage.mean_error > 1e-3 and stage.agreement > 0.9
    # The truth has nothing to do with random weights, but each stage is held against it.
    assert all(stage.miou is not None and 0 < stage.miou < 1 for stage in (report.reference, *report.stages))
    assert report.agreement == min(stage.agreement for stage in report.stages)


@pytest.mark.parametrize("change", [double_a_scale, align_corners])
def test_a_planted_fault_is_named(
    person: Exported, int8: Path, frames: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], str]
) -> None:
    pictures = read_frames(frames, None, 4, [])
    assert bisect(person.path, int8, pictures)[0] is None
    node = planted(int8, tmp_path / "faulty.onnx", change)
    found, nodes = bisect(person.path, tmp_path / "faulty.onnx", pictures)
    assert found is not None and found.node == node
    assert node in [item.node for item in nodes[:4]]


def test_a_fault_in_a_float_file_is_named(person: Exported, frames: Path, tmp_path: Path) -> None:
    pictures = read_frames(frames, None, 2, [])
    node = planted(person.path, tmp_path / "faulty.onnx", align_corners)
    found, _ = bisect(person.path, tmp_path / "faulty.onnx", pictures)
    assert found is not None and found.node == node


def test_other_networks_share_no_nodes(person: Exported, tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="the files share no tensors"):
        node_errors(read_model(tiny_model)[0], read_model(person.path)[0], [np.zeros((1, 32, 32, 3), np.uint8)])


def test_what_cannot_be_compared(person: Exported, tiny_model: Path, frames: Path) -> None:
    pictures = read_frames(frames, None, 1, [])
    with pytest.raises(ModelError, match=r"other inputs: \(72, 100, 'stretch'\) and \(32, 32, 'stretch'\)"):
        verify(person.path, tiny_model, pictures)
    with pytest.raises(ModelError, match="other inputs"):
        bisect(tiny_model, person.path, pictures)
    with pytest.raises(UsageError, match="no frames"):
        verify(person.path, person.path, [])
    with pytest.raises(UsageError, match="only a file's nodes"):
        bisect(person.path, Path("last.pt"), pictures)
    with pytest.raises(InputError):
        read_frames(frames / "none", None, 1, [])


def test_another_parent_is_reported_and_not_refused(person: Exported, int8: Path, frames: Path, tmp_path: Path) -> None:
    model, manifest = read_model(person.path)
    renamed = dataclasses.replace(manifest, name="renamed").to_json()
    kept = {item.key: item.value for item in model.metadata_props if item.key != METADATA_KEY}
    onnx.helper.set_model_props(model, kept | {METADATA_KEY: renamed})
    onnx.save(model, tmp_path / "other.onnx")
    report = verify(tmp_path / "other.onnx", int8, read_frames(frames, None, 1, []))
    assert len(report.notes) == 1 and "was made from another file" in report.notes[0]


def test_the_command_line(
    person: Exported, int8: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verify.json"
    words = ["verify", str(person.path), str(int8), "--frames", str(frames), "--split", "val", "--min-agreement", "0.8"]
    assert main([*words, "--bisect", "--json", str(out)]) == 0
    body = json.loads(out.read_text())
    assert body["parts_at"] is None and body["frames"] == 5 and len(body["nodes"]) == 10
    shown = capsys.readouterr().out
    assert "labels equal %" in shown and "onnxruntime" in shown
    assert main([*words[:-1], "1"]) == 5
    assert capsys.readouterr().err.startswith("error: fewer than 100.0% of the labels agree: ")
    node = planted(int8, tmp_path / "faulty.onnx", double_a_scale)
    words[2] = str(tmp_path / "faulty.onnx")
    assert main([*words, "--bisect"]) == 5
    assert f"error: the files part at a node: {node} (Conv" in capsys.readouterr().err


def test_an_int8_file_does_not_part_from_itself(int8: Path, frames: Path) -> None:
    found, nodes = bisect(int8, int8, read_frames(frames, None, 2, []))
    assert found is None and max(item.error for item in nodes if item.operator != "QuantizeLinear") == 0.0


def break_with_nan(model: onnx.ModelProto) -> str:
    """One output channel of one convolution."""
    node = next(node for node in model.graph.node if node.name == "encoder.stages.2.0.depthwise.0")
    bias = g.array(g.weights(model.graph)[node.input[2]]).copy()
    bias[0] = np.nan
    g.put(model.graph, node.input[2], bias)
    return str(node.name)


def test_what_is_no_number_is_a_fault(
    person: Exported, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = planted(person.path, tmp_path / "nan.onnx", break_with_nan)
    words = ["verify", str(person.path), str(tmp_path / "nan.onnx"), "--frames", str(frames), "--min-agreement", "0"]
    assert main([*words, "--json", str(tmp_path / "nan.json")]) == 5
    assert "error: logits are not finite" in capsys.readouterr().err
    # OpenVINO's clamp makes a number of it, ONNX Runtime's does not.
    assert None in [stage["max_error"] for stage in json.loads((tmp_path / "nan.json").read_text())["stages"]]
    assert main([*words, "--bisect"]) == 5
    assert f"error: the files part at a node: {node} (Conv" in capsys.readouterr().err


def test_another_width_is_another_network(person: Exported, frames: Path, tmp_path: Path) -> None:
    model = onnx.load(person.path)
    name = next(node for node in model.graph.node if node.name == "head").input[1]
    g.put(model.graph, name, g.array(g.weights(model.graph)[name])[:, :4])
    onnx.save(model, tmp_path / "narrow.onnx")
    with pytest.raises(ModelError, match=r"the files hold other networks: head\.weight"):
        bisect(person.path, tmp_path / "narrow.onnx", read_frames(frames, None, 1, []))
