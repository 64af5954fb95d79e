"""Files that leave their size open, and files of one batch: what torch says, at every size; fixed ones say the same."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch.nn.functional as F
from export_helpers import ARGUMENTS, Exported, lively, one_thread
from test_architectures import center
from torch import Tensor, nn

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.cli.main import main
from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.export import graph as g
from edgeseg.export.check import check_export, run_torch, sample_pictures
from edgeseg.export.engine_worker import filled
from edgeseg.export.from_checkpoint import class_map, resized
from edgeseg.export.quantize import quantize
from edgeseg.export.shape import STEP_KEY, Shape, check_free_size, shape_of
from edgeseg.export.to_onnx import build, export_onnx, save
from edgeseg.export.trace import trace
from edgeseg.manifest import PREVIOUS, Manifest
from edgeseg.models import build as build_network
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.backends.engine_cache import rebuild
from edgeseg.runtime.backends.engine_file import read_engine_file

OPEN = Shape(free_size=True)
CLASSES = class_map(["background", "person"])
ENCODER: dict[str, Any] = {"blocks": [1] * 5, "ratio": [0.1] * 7, "stem": 8}
# 9 rows at the network's stride of 8, an odd number: the last map is rounded up.
HEIGHT, WIDTH = 72, 104
OTHERS = [(64, 88), (120, 80)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Path]:
    """A network with memory as a file of any size, and what the command line makes of it: one picture of one size."""
    folder = tmp_path_factory.mktemp("shapes")
    model = lively(build_network("unet_video", **ARGUMENTS))
    architecture = {"name": "unet_video", "args": ARGUMENTS}
    path, fixed = folder / "open.onnx", folder / "fixed.onnx"
    with one_thread():
        export_onnx(model, Manifest("toy", CLASSES, HEIGHT, WIDTH, architecture=architecture), path, shape=OPEN)
        assert main(["export", str(path), "-o", str(fixed), "--batch", "1", "--json", f"{fixed}.json"]) == 0
    return Exported(model, read_model(path)[1], path), fixed


def inputs_of(size: tuple[int, int]) -> dict[str, npt.NDArray[np.uint8]]:
    """Five pictures of that size, and what a model with memory would remember."""
    pictures = np.stack(sample_pictures(*size))
    return {"image": pictures, PREVIOUS: pictures[..., 1].copy()}


def one_of(inputs: dict[str, npt.NDArray[np.uint8]], number: int) -> dict[str, npt.NDArray[Any]]:
    return {name: value[number : number + 1] for name, value in inputs.items()}


def direct(path: Path, inputs: dict[str, npt.NDArray[np.uint8]]) -> dict[str, npt.NDArray[Any]]:
    """The file in ONNX Runtime as anybody runs it, without edgeseg."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@pytest.mark.parametrize("size", OTHERS)
def test_one_file_says_what_torch_says_at_other_sizes(pair: tuple[Exported, Path], size: tuple[int, int]) -> None:
    exported, _ = pair
    inputs = inputs_of(size)
    expected = run_torch(exported.model, inputs, resized(exported.manifest, size, exported.model))
    got = direct(exported.path, inputs)
    assert got["label_map"].shape == (5, *size)
    assert np.abs(got["probability"].astype(int) - expected["probability"]).max() <= 1
    assert np.mean(got["label_map"] == expected["label_map"]) >= 0.999
    assert 0.05 < got["label_map"].mean() < 0.95, "the pictures must show both classes"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_runtime_takes_it_at_the_manifests_size(pair: tuple[Exported, Path], backend: str) -> None:
    exported, fixed = pair
    inputs = inputs_of((HEIGHT, WIDTH))
    with load_backend(exported.path, backend) as free, load_backend(fixed, backend) as plain:
        assert (free.manifest.height, free.manifest.width, free.manifest.memory) == (HEIGHT, WIDTH, True)
        for number in range(5):
            got, wanted = (runs.infer(one_of(inputs, number))["label_map"].copy() for runs in (free, plain))
            np.testing.assert_array_equal(got, wanted)
        with pytest.raises(InputError, match=rf"must be uint8 \[1, {HEIGHT}, {WIDTH}, 3\]"):
            free.infer(one_of(inputs_of(OTHERS[0]), 0))


def test_the_graphs_name_what_is_open(pair: tuple[Exported, Path]) -> None:
    exported, fixed = pair
    sizes = {}
    for path in (exported.path, fixed):
        graph = onnx.load(path).graph
        for value in (*graph.input, *graph.output):
            dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            sizes[path.stem, value.name] = dims
    assert sizes["open", "image"] == ["N", "H", "W", 3] and sizes["fixed", "image"] == [1, HEIGHT, WIDTH, 3]
    for name in (PREVIOUS, "label_map", "probability"):
        assert sizes["open", name] == ["N", "H", "W"] and sizes["fixed", name] == [1, HEIGHT, WIDTH]
    assert shape_of(onnx.load(exported.path)) == OPEN and shape_of(onnx.load(fixed)) == Shape(1)
    assert exported.manifest.origin[STEP_KEY] == 8 and STEP_KEY not in read_model(fixed)[1].origin
    figures = json.loads(Path(f"{fixed}.json").read_text())
    assert figures["batch"] == 1 and figures["size_multiple_px"] is None


def test_it_is_quantized_like_any_other(pair: tuple[Exported, Path], tmp_path: Path) -> None:
    import cv2

    exported, fixed = pair
    for number, picture in enumerate(sample_pictures(90, 120)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    files = []
    for path in (exported.path, fixed):
        files.append(tmp_path / f"{path.stem}.int8.onnx")
        quantize(path, calibrate(path, tmp_path), files[-1])
    assert shape_of(onnx.load(files[0])) == OPEN
    inputs = inputs_of((HEIGHT, WIDTH))
    for number in range(5):
        one, other = (direct(path, one_of(inputs, number))["label_map"] for path in files)
        assert np.mean(one == other) > 0.99
    inputs = inputs_of(OTHERS[1])
    as_float, as_int8 = (direct(path, inputs)["label_map"] for path in (exported.path, files[0]))
    # Random weights give thin margins.
    assert np.mean(as_float == as_int8) > 0.8


def test_deeplab_holds_no_sizes_either(tmp_path: Path) -> None:
    """It pools the whole map and resizes its logits."""
    model = lively(build_network("deeplabv3plus_efficientnet_lite0", classes=3, width=16, skip=8, **ENCODER))
    center(model)
    manifest = Manifest("toy", class_map(["sky", "road", "tree"]), 64, 96)
    export_onnx(model, manifest, tmp_path / "model.onnx", inline=True, shape=OPEN)
    inputs = {"image": inputs_of((96, 48))["image"]}
    expected = run_torch(model, inputs, resized(manifest, (96, 48), model))["label_map"]
    assert np.mean(direct(tmp_path / "model.onnx", inputs)["label_map"] == expected) >= 0.999
    assert len(np.unique(expected)) == 3


def test_models_of_one_size_say_why(pair: tuple[Exported, Path]) -> None:
    model, manifest = pair[0].model, pair[0].manifest
    odd = dataclasses.replace(manifest, height=70, width=100, output_height=70, output_width=100)
    with pytest.raises(UsageError, match=r"must be a multiple of 8.*70x100.*--size 72x104"):
        build(model, odd, shape=OPEN)
    tiled = build_network("unet", width=2)
    with pytest.raises(UsageError, match=r"cut into its tiles: unet, 188x188 to 4x4"):
        build(tiled, resized(Manifest("unet", CLASSES, 188, 188), (188, 188), tiled), shape=OPEN)
    with pytest.raises(UsageError, match="anchors"):
        check_free_size(model, dataclasses.replace(manifest, task="instance"))


class OneSize(nn.Module):
    """Whatever comes in, 24x40 comes out of it, or must come in."""

    def __init__(self, resizes: bool) -> None:
        super().__init__()
        self.resizes = resizes

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=(24, 40)) if self.resizes else x.reshape(-1, 3, 24, 40)


@pytest.mark.parametrize("resizes", [False, True])
def test_a_network_with_a_number_of_pixels_in_it_is_found(resizes: bool) -> None:
    with pytest.raises(ModelError, match=r"true for one size only.*--dynamic-size"):
        trace(OneSize(resizes), 24, 40, step=8)


def test_a_file_that_is_wrong_at_another_size_is_found(pair: tuple[Exported, Path], tmp_path: Path) -> None:
    """At its usual size the file is right."""
    model = onnx.load(pair[0].path)
    cut = next(node for node in model.graph.node if node.op_type == "Slice")
    cut.input[2] = g.put(model.graph, "rows", np.array([HEIGHT // 8], np.int64))
    onnx.save(model, tmp_path / "wrong.onnx")
    np.testing.assert_array_equal(
        *(direct(path, inputs_of((HEIGHT, WIDTH)))["label_map"] for path in (tmp_path / "wrong.onnx", pair[0].path))
    )
    with pytest.raises(ModelError, match=r"another size than torch: 72x112 and 80x112"):
        check_export(pair[0].model, tmp_path / "wrong.onnx")


def test_a_batch_of_one_number_is_for_calls_of_that_many(
    pair: tuple[Exported, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, fixed = pair
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(ModelError, match=r"takes 1 pictures a call, not 2.*--batch 2 or --batch dynamic"):
            load_backend(fixed, name, batch=2)
        with load_backend(exported.path, name, batch=2) as backend:
            inputs = {key: value[:2] for key, value in inputs_of((HEIGHT, WIDTH)).items()}
            assert backend.infer(inputs)["label_map"].shape == (2, HEIGHT, WIDTH)
    for wrong in ("0", "many", "100000"):
        assert main(["export", str(fixed), "-o", str(tmp_path / "x.onnx"), "--batch", wrong]) == 2
        assert f"bad batch: {wrong}" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_an_engine_of_several_sizes(
    pair: tuple[Exported, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT-RTX builds it here; that it runs at each of them needs a GPU."""
    rounds_up, fixed = pair[0].path, pair[1]
    even, out = tmp_path / "even.onnx", tmp_path / "m.engine"
    save(build(pair[0].model, resized(pair[0].manifest, (80, 112), pair[0].model), shape=OPEN), even)
    assert read_model(even)[1].origin[STEP_KEY] == 16
    words = ["build", str(even), "-o", str(out), "--backend", "tensorrt-rtx"]
    assert main([*words, "--sizes", "64x64,128x160", "--max-batch", "2"]) == 0
    built = read_engine_file(out)
    assert built.built["sizes"] == [[64, 64], [80, 112], [128, 160]] and built.manifest.height == 80
    assert built.rebuild_command().endswith("--max-batch 2 --sizes 64x64,128x160")
    rebuild(built)
    assert read_engine_file(out).built["sizes"] == built.built["sizes"]
    capsys.readouterr()
    for file, sizes, code, told in (
        (even, "64x72,128x160", 2, "multiples of 16 pixels: 64x72"),
        (even, "96x64,128x160", 2, "80x112 must lie between"),
        (even, "64x64", 2, "Give the smallest and the largest"),
        (fixed, "64x64,128x160", 2, "the file takes 72x104 alone"),
        (rounds_up, "64x64,128x160", 4, "a --size in multiples of 16"),
    ):
        assert main([words[0], str(file), *words[2:], "--sizes", sizes]) == code
        assert told in capsys.readouterr().err
    # At its one usual size the other file builds, too.
    assert main([words[0], str(rounds_up), *words[2:]]) == 0
    assert "sizes" not in read_engine_file(out).built


def test_the_profile_fills_in_what_a_file_leaves_open() -> None:
    sizes = [(64, 64), (72, 104), (128, 160)]
    assert filled((-1, -1, -1, 3), (1, 1, 2), sizes) == [(1, 64, 64, 3), (1, 72, 104, 3), (2, 128, 160, 3)]
    assert filled((-1, -1, -1), (1, 1, 1), sizes) == [(1, 64, 64), (1, 72, 104), (1, 128, 160)]
    assert filled((4, 72, 104, 3), (4, 4, 4), sizes) == [(4, 72, 104, 3)] * 3
    assert filled((-1, 72, 104, 3), (1, 2, 4), None) == [(count, 72, 104, 3) for count in (1, 2, 4)]
