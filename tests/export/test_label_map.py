"""LabelMap: the node that replaces upsampling and ArgMax in a plugin's graph, and the kernel behind an engine's logits.

What the kernel gives is its source compiled for the CPU here, held against ONNX Runtime on the exported file.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from export_helpers import lively, run_onnxruntime
from needed import skip_or_fail
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgeseg.calib.model_file import read_model
from edgeseg.errors import ModelError
from edgeseg.export import graph as g
from edgeseg.export import launchers, plugin, to_onnx
from edgeseg.export.build_engine import typed
from edgeseg.export.camera import add_labels
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.fused_op import upsample_crop_concat
from edgeseg.export.label_map import Ending, end_at_logits, find_ending, is_label_map, put_label_map
from edgeseg.export.label_map_op import label_map
from edgeseg.manifest import Manifest
from edgeseg.models import build

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["sky", "road", "tree"]


class UpsampleCropConcat(OpRun):
    """The plugin's kernel."""

    op_domain = "edgeseg"

    def _run(self, deep: Any, skip: Any, scale: int, **_: Any) -> tuple[Any]:
        return (upsample_crop_concat(torch.from_numpy(deep), torch.from_numpy(skip), scale).numpy(),)


class LabelMap(OpRun):
    """The plugin's kernel; ids in the logits' type, as the plugin gives them."""

    op_domain = "edgeseg"

    def _run(self, logits: Any, scale: int, **_: Any) -> tuple[Any]:
        return (label_map(torch.from_numpy(logits), scale).numpy().astype(logits.dtype),)


@pytest.fixture
def kernels() -> None:
    """What `make ext` leaves."""
    path = plugin.find_library()
    if path is None or not path.with_name(launchers.CPU_LIBRARY).is_file():
        message = "no library of the kernels: run make ext"
        skip_or_fail(message)


@pytest.fixture(scope="module")
def deeplab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes at 40x56, inside 48x64: the upsampled logits are cut."""
    arguments = {"ratio": [0.1] * 7, "stem": 8, "width": 16, "skip": 8}
    name = "deeplabv3plus_efficientnet_lite0"
    model = lively(build(name, classes=len(NAMES), **arguments))
    with torch.no_grad():  # random logits differ most by their mean; without it each class wins somewhere
        model.head.bias -= model(torch.randn(2, 3, 48, 64)).mean(dim=(0, 2, 3))  # type: ignore[operator, union-attr]
    manifest = Manifest("toy", class_map(NAMES), 40, 56, architecture={"name": name, "args": arguments})
    path = tmp_path_factory.mktemp("deeplab") / "model.onnx"
    to_onnx.save(to_onnx.build(model, manifest), path)
    return path


@pytest.fixture(scope="module")
def frames() -> npt.NDArray[np.uint8]:
    return np.stack(sample_pictures(40, 56))[:2]


def for_build(file: Path, precision: str, folder: Path) -> tuple[Any, int]:
    """The graph that a build with the plugin parses, and how many plugin layers it wants to see."""
    library = folder / "lib.so"
    library.touch()
    content, _, nodes = typed(file, precision, (), "tensorrt", library)
    return onnx.load_from_string(content), nodes


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_build_with_the_plugin_gets_the_node(deeplab: Path, precision: str, tmp_path: Path) -> None:
    model, nodes = for_build(deeplab, precision, tmp_path)
    ours = [node for node in model.graph.node if node.domain == "edgeseg"]
    assert [node.op_type for node in ours] == ["UpsampleCropConcat", "LabelMap"] and nodes == 2
    (step,) = (node for node in ours if is_label_map(node))
    values = {item.name: helper.get_attribute_value(item) for item in step.attribute}
    assert values == {"scale": 4, "plugin_version": b"1", "plugin_namespace": b"edgeseg"}
    # From the head's own logits to the bytes: no resize, no cast to float, no ArgMax in between.
    makers, readers = g.producers(model.graph), g.consumers(model.graph)
    assert makers[step.input[0]].op_type == "Conv" and makers[step.input[0]].name == "head"
    kept = [node for node in model.graph.node if node.op_type in ("ArgMax", "Resize")]
    assert not kept and [node.op_type for node in model.graph.node][-3:] == ["LabelMap", "Slice", "Cast"]
    (cut,) = readers[step.output[0]]
    bounds = [g.array(g.weights(model.graph)[name]).tolist() for name in cut.input[1:]]
    assert bounds == [[4, 4], [44, 60], [1, 2]]
    (last,) = readers[cut.output[0]]
    assert (last.op_type, list(last.output), g.attribute(last, "to")) == ("Cast", ["label_map"], TensorProto.UINT8)
    (output,) = model.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim][1:] == [40, 56]
    onnx.checker.check_model(model)


@pytest.mark.parametrize(("precision", "agreement"), [("fp32", 0.999), ("fp16", 0.98)])
def test_its_labels_are_those_of_the_file(
    kernels: None, deeplab: Path, frames: npt.NDArray[np.uint8], precision: str, agreement: float, tmp_path: Path
) -> None:
    """The file as it was by ONNX Runtime; the plugin's graph by the reference evaluator with both plugins' kernels."""
    wanted = run_onnxruntime(read_model(deeplab)[0], {"image": frames})["label_map"]
    model, _ = for_build(deeplab, precision, tmp_path)
    evaluator = ReferenceEvaluator(model, new_ops=[UpsampleCropConcat, LabelMap])
    found = evaluator.run(["label_map"], {"image": frames})[0]
    assert found.dtype == np.uint8 and found.shape == wanted.shape == (2, 40, 56)
    assert set(np.unique(wanted)) == {0, 1, 2}
    assert (found == wanted).mean() >= agreement


def test_the_kernel_behind_the_logits_gives_them_too(
    kernels: None, deeplab: Path, frames: npt.NDArray[np.uint8]
) -> None:
    wanted = run_onnxruntime(read_model(deeplab)[0], {"image": frames})["label_map"]
    model = read_model(deeplab)[0]
    ending = end_at_logits(model)
    assert ending == Ending("logits", 4, (4, 4, 44, 60)) and len(model.graph.output) == 1
    logits = torch.from_numpy(run_onnxruntime(model, {"image": frames})["logits"])
    assert logits.shape == (2, 3, 12, 16)
    for values in (logits, logits.contiguous(memory_format=torch.channels_last)):
        labels = label_map(values, ending.scale, ending.cut)
        assert labels.dtype == torch.uint8 and (labels.numpy() == wanted).mean() > 0.999
    # Whole numbers below 2^8 are exact in each type, so are their means at a scale of 4.
    whole = (logits * 8).round().clamp(-128, 127)
    expected = label_map(whole, 4)
    for kind in (torch.float16, torch.bfloat16, torch.int8):
        assert torch.equal(label_map(whole.to(kind), 4), expected)


@pytest.mark.gpu
def test_the_kernel_on_the_gpu_says_the_same(kernels: None) -> None:
    logits = torch.randn(2, 19, 20, 24, generator=torch.Generator().manual_seed(3))
    assert (label_map(logits.cuda(), 4).cpu() == label_map(logits, 4)).float().mean() > 0.9999


@pytest.mark.checkout
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_tensorrt_rtx_builds_the_cut_file(deeplab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's first half, which needs no GPU."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import label_map_behind_engine as example

    engine, ending, size = example.build(deeplab)
    assert len(engine) > 10_000 and size == (40, 56) and ending.scale == 4


@pytest.mark.gpu
@pytest.mark.checkout
def test_the_example_on_a_gpu(
    kernels: None, deeplab: Path, frames: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import label_map_behind_engine as example

    engine, ending, _ = example.build(deeplab, "fp32")
    wanted = run_onnxruntime(read_model(deeplab)[0], {"image": frames[:1]})["label_map"]
    assert (example.run(engine, ending, frames[:1]).cpu().numpy() == wanted).mean() > 0.99


def tail(cut: tuple[int, int] | None = None, outputs: tuple[str, ...] = ("label_map",), **resize: Any) -> Any:
    """A model of an upsampling and the labels behind it: 3 classes, 4x5 to 8x10 or what is cut of it."""
    options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} | resize
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], options.pop("scales", [1, 1, 2, 2]))
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["low"], "head"),
            helper.make_node("Resize", ["low", "", "scales"], ["up"], **options),
        ],
        "tail",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 4, 5])],
        [helper.make_tensor_value_info("up", TensorProto.FLOAT, None)],
        [scales],
    )
    add_labels(graph, Manifest("toy", class_map(NAMES), 8 if cut is None else 6, 10, outputs=outputs), cut)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


@pytest.mark.parametrize("cut", [None, (1, 0)])
def test_with_and_without_a_cut(kernels: None, cut: tuple[int, int] | None) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    model = tail(cut)
    wanted = run_onnxruntime(model, {"x": x})["label_map"]
    put_label_map(model)
    onnx.checker.check_model(model)
    assert [item.domain for item in model.opset_import] == ["", "edgeseg"]
    found = ReferenceEvaluator(model, new_ops=[LabelMap]).run(["label_map"], {"x": x})[0]
    assert found.dtype == np.uint8 and np.array_equal(found, wanted)


OTHERS = {
    "nearest": {"mode": "nearest"},
    "corners": {"coordinate_transformation_mode": "align_corners"},
    "no whole number": {"scales": [1, 1, 2.5, 2.5]},
    "two scales": {"scales": [1, 1, 2, 4]},
    "classes, too": {"scales": [1, 2, 2, 2]},
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS.keys())
def test_other_upsamplings_stay(options: dict[str, Any]) -> None:
    model = tail(**options)
    before = model.SerializeToString()
    put_label_map(model)
    assert model.SerializeToString() == before
    with pytest.raises(ModelError, match="does not end in logits, upsampling and ArgMax: tail"):
        end_at_logits(model)


def test_logits_that_somebody_else_reads_stay() -> None:
    assert find_ending(tail(outputs=("label_map", "logits")).graph) is None
    model = tail()
    model.graph.node.append(helper.make_node("Neg", ["up"], ["other"]))
    assert find_ending(model.graph) is None
    last = tail()
    next(node for node in last.graph.node if node.op_type == "ArgMax").attribute.append(
        helper.make_attribute("select_last_index", 1)
    )
    assert find_ending(last.graph) is None


def test_two_classes_with_a_probability_stay(person: Any) -> None:
    assert find_ending(read_model(person.path)[0].graph) is None


def test_what_the_kernel_refuses(kernels: None) -> None:
    logits = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"scale is 1 to 1024: 0"):
        label_map(logits, 0)
    with pytest.raises(ValueError, match=r"logits are \[N, 1 to 256, h, w\]"):
        label_map(logits.double(), 2)
    with pytest.raises(ValueError, match="logits are"):
        label_map(logits.expand(1, 3, 4, 4)[:, :0], 2)
    assert label_map(logits[:0], 2).shape == (0, 8, 8)
