"""The exported file keeps the camera contract and says what torch says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import torch.nn.functional as F
from export_helpers import Exported, lively, run_onnxruntime, run_openvino, run_reference
from onnx import TensorProto
from torch import Tensor, nn

from edgeseg.errors import ModelError, OutputError
from edgeseg.export import check, fused_step, to_onnx
from edgeseg.export import graph as g
from edgeseg.export.from_checkpoint import class_map
from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.models.blocks import ConvNormAct
from edgeseg.models.ops import UpsampleCropConcat


class Odd(nn.Module):
    """What `unet_lite` does not have: one mean for all channels, four classes, nearest steps, pooling before the first
    convolution, a norm without one, an unpadded convolution with a real crop behind it."""

    mean, std, stride = (127.0, 127.0, 127.0), (128.0, 64.0, 128.0), 2

    def __init__(self, pool_first: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1) if pool_first else nn.Identity()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.down = ConvNormAct(6, 8, 5, 2)
        self.bare = nn.Conv2d(8, 8, 3)
        self.fuse = UpsampleCropConcat(2, "nearest")
        self.head = nn.Conv2d(14, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.norm(F.relu(self.first(self.pool(x))))
        return self.head(self.fuse(self.bare(self.down(skip)), skip))


def test_the_contract(person: Exported) -> None:
    model = onnx.load(person.path)
    onnx.checker.check_model(model, full_check=True)
    assert {item.domain: item.version for item in model.opset_import} == {"": 19, "edgeseg": 1}
    assert model.ir_version <= 10
    (image,) = model.graph.input
    assert (image.name, image.type.tensor_type.elem_type) == ("image", TensorProto.UINT8)
    dims = image.type.tensor_type.shape.dim
    assert dims[0].dim_param == "N" and [dim.dim_value for dim in dims[1:]] == [72, 100, 3]
    assert [item.name for item in model.graph.output] == ["label_map", "probability"]
    assert all(item.type.tensor_type.elem_type == TensorProto.UINT8 for item in model.graph.output)
    assert [node.op_type for node in g.consumers(model.graph)["image"]] == ["Cast"]
    made = g.producers(model.graph)
    assert [made[item.name].op_type for item in model.graph.output] == ["Cast", "Cast"]
    text = next(item.value for item in model.metadata_props if item.key == METADATA_KEY)
    manifest = Manifest.from_json(text)
    assert manifest.two_class and (manifest.height, manifest.width, manifest.precision) == (72, 100, "fp32")
    assert manifest.architecture == person.manifest.architecture


def test_the_graph_is_clean_and_its_names_are_the_modules(person: Exported) -> None:
    model = onnx.load(person.path)
    kinds = [node.op_type for node in model.graph.node]
    assert not set(kinds) & {"BatchNormalization", "Identity", "Constant", "Shape", "Gather", "Div"}
    # The one map of odd size, 9x13 at stride 8.
    assert kinds.count("Pad") == 1
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    modules = [name for name, module in person.model.named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(node.name for node in convolutions) == sorted(modules)
    assert all(len(node.input) == 3 for node in convolutions)
    # Padding for 72x100 inside 72x104 and TensorFlow's "SAME" of the stride-2 stem are both in the first convolution.
    assert g.attribute(convolutions[0], "pads") == [0, 2, 1, 3]
    steps = [node for node in model.graph.node if fused_step.is_step(node)]
    assert [node.name for node in steps] == ["steps.0.fuse", "steps.1.fuse", "steps.2.fuse"]
    for node in steps:
        assert g.attribute(node, "plugin_namespace") == b"edgeseg" and g.attribute(node, "plugin_version") == b"1"
    (function,) = model.functions
    assert list(function.attribute) == ["scale", "mode"]
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_torch_and_all_runtimes_agree(person: Exported, pictures: npt.NDArray[np.uint8]) -> None:
    report = check.check_export(person.model, person.path, list(pictures))
    assert report.images == 3 and report.max_levels <= 1 and report.label_agreement >= 0.999
    model = onnx.load(person.path)
    got = run_onnxruntime(model, {"image": pictures})
    np.testing.assert_array_equal(got["label_map"], got["probability"] >= 128)
    assert 0.05 < got["label_map"].mean() < 0.95, "the pictures must show both classes"
    assert len(np.unique(got["probability"])) > 100
    others = (
        run_openvino(fused_step.inline(model), {"image": pictures}),
        run_reference(model, {"image": pictures[:1]}),
    )
    for other in others:
        levels = np.abs(other["probability"].astype(int) - got["probability"][: len(other["probability"])])
        assert levels.max() <= 1


@pytest.mark.parametrize("pool_first", [False, True])
def test_other_networks(tmp_path: Path, pool_first: bool) -> None:
    """`pool_first` keeps colours out of the first convolution; they must be applied all the same."""
    model = lively(Odd(pool_first), seed=2)
    manifest = Manifest(
        "odd",
        class_map(["void", "a", "b", "c"]),
        20,
        28,
        outputs=("label_map", "logits"),
        output_height=16,
        output_width=24,
        offset=(2, 2),
    )
    report = to_onnx.export_onnx(model, manifest, tmp_path / "odd.onnx", inline=True)
    assert report.label_agreement >= 0.999
    written = onnx.load(tmp_path / "odd.onnx")
    kinds = [node.op_type for node in written.graph.node]
    assert not written.functions and "Slice" in kinds and ("Gather" in kinds) is pool_first
    picture = check.sample_pictures(20, 28)[3]
    got = run_onnxruntime(written, {"image": picture[None]})
    rgb = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    std = torch.tensor(model.std).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = model((rgb - 127) / std).numpy()
    np.testing.assert_allclose(got["logits"], logits, atol=1e-4)
    np.testing.assert_array_equal(got["label_map"], got["logits"].argmax(1))
    assert got["label_map"].shape == (1, 16, 24) and got["label_map"].dtype == np.uint8
    assert len(np.unique(got["label_map"])) > 1


def test_a_file_that_differs_is_found(person: Exported, tmp_path: Path) -> None:
    model = onnx.load(person.path)
    weight = g.weights(model.graph)["head.bias"]
    g.put(model.graph, "head.bias", g.array(weight) + np.float32(0.1))
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ModelError, match="differs from the torch model"):
        check.check_export(person.model, tmp_path / "wrong.onnx")


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_the_file_cuts_at_the_manifests_threshold(
    person: Exported, tmp_path: Path, pictures: npt.NDArray[np.uint8], threshold: float
) -> None:
    """Who runs the file without edgeseg gets the same label map."""
    path = tmp_path / "model.onnx"
    to_onnx.export_onnx(person.model, dataclasses.replace(person.manifest, threshold=threshold), path)
    got = run_onnxruntime(onnx.load(path), {"image": pictures})
    label_map, probability = got["label_map"], got["probability"]
    np.testing.assert_array_equal(label_map, probability >= 255 * threshold)
    assert threshold in (0.0, 1.0) or 0.01 < np.mean(label_map) < 0.99


def test_a_failed_export_leaves_the_old_file(person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    monkeypatch.setattr(to_onnx, "build", lambda *_: onnx.load(person.path))
    monkeypatch.setattr(check, "MAX_LEVELS", -1)
    with pytest.raises(ModelError):
        to_onnx.export_onnx(person.model, person.manifest, target)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(OutputError, match="missing"):
        to_onnx.export_onnx(person.model, person.manifest, tmp_path / "missing" / "model.onnx")


def test_a_written_file_is_as_readable_as_any(person: Exported, tmp_path: Path) -> None:
    with to_onnx.written_aside(tmp_path / "new") as part:
        part.write_bytes(b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_classes_must_fit_the_logits() -> None:
    two, three = class_map(["background", "person"]), class_map(["void", "a", "b"])
    assert to_onnx.fit_outputs(Manifest("m", two, 8, 8), 1).outputs == ("label_map", "probability")
    assert to_onnx.fit_outputs(Manifest("m", two, 8, 8), 2).outputs == ("label_map",)
    for classes, channels in ((two, 3), (three, 1)):
        with pytest.raises(ModelError, match="do not fit"):
            to_onnx.fit_outputs(Manifest("m", classes, 8, 8), channels)


def test_padding_reaches_a_multiple_of_the_stride() -> None:
    assert to_onnx.padding(144, 256, 32) == (8, 0, 8, 0)
    assert to_onnx.padding(97, 64, 32) == (15, 0, 16, 0)
    assert to_onnx.padding(256, 256, 32) == (0, 0, 0, 0)


def test_the_functions_cost_onnxruntime_nothing(person: Exported, tmp_path: Path) -> None:
    """With N fixed, as the runtime does, nothing of a step is left but Resize and Concat.

    Three times Slice: the cut, and the rows and columns that an odd map was rounded up by.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_free_dimension_override_by_name("N", 1)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(person.path.read_bytes(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "Shape" not in kinds and kinds.count("Slice") == 3
    assert kinds.count("Resize") == kinds.count("Concat") == 3
