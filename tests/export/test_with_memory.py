"""A network with memory goes the whole way: a file with a second input, back into torch, int8, on every runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from export_helpers import ARGUMENTS, Exported, lively, run_onnxruntime, run_openvino, run_reference
from torch import nn

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.calib.tap import tap
from edgeseg.errors import InputError, ModelError
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map, load_for_export
from edgeseg.export.quantize import quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import METADATA_KEY, PREVIOUS, Manifest
from edgeseg.models import build
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.segmenter import Segmenter

NETWORK: dict[str, Any] = {"name": "unet_video", "args": ARGUMENTS}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """With lively weights, those of the memory too."""
    return lively(build("unet_video", **ARGUMENTS))


@pytest.fixture(scope="module")
def video(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's file, of a size that is padded inside."""
    path = tmp_path_factory.mktemp("video") / "model.onnx"
    manifest = Manifest("video", class_map(["background", "person"]), 72, 100, architecture=NETWORK)
    # Compares the file with torch on its own, on pictures and memories.
    export_onnx(network, manifest, path)
    return path


def feeds(pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    return {"image": pictures, PREVIOUS: np.random.default_rng(0).integers(0, 256, pictures.shape[:3], np.uint8)}


def test_the_file_takes_what_it_said_last(video: Path, pictures: npt.NDArray[np.uint8], network: nn.Module) -> None:
    model, manifest = read_model(video)
    assert manifest.memory and [item.name for item in model.graph.input] == ["image", PREVIOUS]
    inputs = feeds(pictures)
    levels = run_onnxruntime(model, inputs)["probability"].astype(int)
    assert np.abs(levels - run_reference(model, inputs)["probability"]).max() <= 1
    blank = run_onnxruntime(model, inputs | {PREVIOUS: np.zeros_like(inputs[PREVIOUS])})["probability"].astype(int)
    assert np.abs(levels - blank).max() > 20, "the memory says nothing"
    # By hand: 72 rows need no padding, 100 columns become 104.
    rgb = torch.from_numpy(pictures[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    x = (rgb - torch.tensor(network.mean).view(1, 3, 1, 1)) / torch.tensor(network.std).view(1, 3, 1, 1)  # type: ignore[arg-type]
    x = torch.cat([x, torch.from_numpy(inputs[PREVIOUS])[:, None] / 255], 1)
    with torch.no_grad():
        wanted = torch.sigmoid(network(nn.functional.pad(x, (2, 2, 0, 0)))[:, 0, :, 2:-2]) * 255
    assert np.abs(levels - wanted.round().numpy()).max() <= 1


def test_back_into_torch(video: Path, network: nn.Module) -> None:
    back, manifest = load_for_export(video)
    assert manifest.memory
    x = torch.randn(1, 4, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(back(x), network(x), rtol=1e-3, atol=1e-3)


def test_int8_sees_memories_in_calibration(video: Path, pictures: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number, picture in enumerate(sample_pictures(72, 100)):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), picture)
    ranges = calibrate(video, tmp_path / "frames")
    # Half a byte at most, as the picture around its mean.
    low, high = ranges.tensors["camera.remembered"]
    assert -128 <= low < 0 < high <= 128
    quantize(video, ranges, tmp_path / "int8.onnx")
    inputs = {name: value[:1] for name, value in feeds(pictures).items()}
    float_model, int8 = read_model(video)[0], read_model(tmp_path / "int8.onnx")[0]
    reference = run_reference(int8, inputs)["probability"].astype(int)
    assert np.abs(run_onnxruntime(int8, inputs)["probability"] - reference).mean() < 3
    assert np.abs(run_onnxruntime(float_model, inputs)["probability"] - reference).mean() < 12


def test_tap_runs_a_model_on_its_own_answer(video: Path, pictures: npt.NDArray[np.uint8]) -> None:
    model, _ = read_model(video)
    nothing = {"image": pictures[:1], PREVIOUS: np.zeros((1, 72, 100), np.uint8)}
    first = run_onnxruntime(model, nothing)["probability"]
    second = run_onnxruntime(model, nothing | {PREVIOUS: first})["probability"]
    (tapped,) = tap(model, ["probability"])(pictures[:1])
    assert np.array_equal(tapped, second) and not np.array_equal(first, second)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backends_feed_it(video: Path, pictures: npt.NDArray[np.uint8], backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    with Segmenter(load_backend(video, backend)) as segmenter:
        picture, memory = pictures[1:2], feeds(pictures)[PREVIOUS][1:2]
        alone, fed = segmenter.infer(picture), segmenter.infer(picture, memory)
        wanted = run_onnxruntime(read_model(video)[0], {"image": picture, PREVIOUS: memory})["probability"]
        assert np.abs(fed["probability"].astype(int) - wanted).max() <= 1
        assert not np.array_equal(alone["probability"], fed["probability"])
        with pytest.raises(InputError, match="an input of the model is missing: previous_probability"):
            segmenter.backend.infer({"image": picture})


def test_openvino_reads_the_inlined_file(network: nn.Module, pictures: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    manifest = Manifest("video", class_map(["background", "person"]), 72, 100, architecture=NETWORK)
    export_onnx(network, manifest, tmp_path / "inline.onnx", inline=True)
    model, inputs = read_model(tmp_path / "inline.onnx")[0], feeds(pictures)
    levels = run_openvino(model, inputs)["probability"].astype(int)
    assert np.abs(levels - run_reference(model, inputs)["probability"]).max() <= 1


def test_a_manifest_that_promises_a_memory_is_checked(person: Exported, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(person.path)
    promised = dataclasses.replace(read_model(person.path)[1], memory=True)
    onnx.helper.set_model_props(model, {METADATA_KEY: promised.to_json()})
    onnx.save(model, tmp_path / "promised.onnx")
    with pytest.raises(ModelError, match=f"{PREVIOUS} is missing"):
        load_backend(tmp_path / "promised.onnx", "onnxruntime")
