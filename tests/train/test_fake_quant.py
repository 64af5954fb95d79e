"""Rounding in training is the rounding of the file: checked against the int8 file that the quantizer writes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.frames import FrameSet
from edgeseg.errors import UsageError
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.quantize import quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import Manifest
from edgeseg.models import build
from edgeseg.models.base import SemanticNetwork
from edgeseg.models.blocks import ConvNormAct, round_weight
from edgeseg.train.fake_quant import check_rounds, choose_scales, rounded_modules, simulate_int8
from edgeseg.train.start import normalize

SIZE = 64
ARGS = {"blocks": [0, 2, 1, 2, 1, 2], "ratio": [1, 0.5, 0.25, 0.25, 0.1, 0.1], "stem": 8, "decoder": [16, 16, 8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of soft noise."""
    root = tmp_path_factory.mktemp("frames")
    for index in range(6):
        noise = np.random.default_rng(index).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(root / f"{index}.png"), cv2.resize(noise, (SIZE, SIZE)))
    return root


@pytest.fixture
def images(folder: Path) -> torch.Tensor:
    """uint8 [6, 3, H, W], RGB."""
    loaded = [cv2.imread(str(path))[:, :, ::-1].transpose(2, 0, 1) for path in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(loaded))


@pytest.fixture
def network(images: torch.Tensor) -> SemanticNetwork:
    """Fresh, with norms that fit the pictures and a head that answers."""
    torch.manual_seed(1)
    model = build("unet_lite", classes=1, **ARGS)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            torch.nn.init.uniform_(layer.bias, -0.5, 1.0)
    with torch.no_grad():
        model.train()(normalize(images, model))
    return model.eval()


def test_it_computes_what_the_int8_file_computes(
    network: SemanticNetwork, images: torch.Tensor, folder: Path, tmp_path: Path
) -> None:
    manifest = Manifest("toy", class_map(["background", "person"]), SIZE, SIZE, architecture={})
    export_onnx(network, manifest, tmp_path / "model.onnx")
    ranges = calibrate(tmp_path / "model.onnx", FrameSet(folder, count=None), "mse")
    # The camera's bytes in steps of one, which training takes as they are.
    ranges.tensors["camera.planes"] = (-127.0, 127.0)  # type: ignore[index]
    quantize(tmp_path / "model.onnx", ranges, tmp_path / "int8.onnx", equalize=False)
    x = normalize(images, network)
    scales = choose_scales(network, x)
    # Maps that no fused step ties to others have the very step that calibration chose for the file.
    alone = [name for name in scales if name.endswith((".expand", ".depthwise", ".mix.0"))]
    assert len(alone) > 15
    for name in alone:
        chosen = max(abs(value) for value in ranges.tensors[f"{name}.2.clip"]) / 127
        assert scales[name] == pytest.approx(chosen, rel=0.02), name

    # Deeper maps differ more and more, as values near the middle between two levels fall to either side.
    simulate_int8(network, scales)
    made = {}
    early = {"encoder.stages.1.0.expand": ".2.clip", "encoder.stages.1.0.depthwise": ".2.clip"}
    early |= {"encoder.stages.1.0": ".project.0"}
    for name in early:
        network.get_submodule(name).register_forward_hook(lambda m, i, o, n=name: made.update({n: o.numpy()}))
    with torch.no_grad():
        network(x)
    real = tensors_of(tmp_path / "int8.onnx", [f"{name}{suffix}.float" for name, suffix in early.items()], images)
    for name, value in zip(early, real, strict=True):
        assert float(np.mean(np.abs(made[name] - value) > 1e-5)) < 0.03, name


def tensors_of(path: Path, names: list[str], images: torch.Tensor) -> list[np.ndarray]:
    """Some tensors inside a file, for RGB pictures [N, 3, H, W], by ONNX Runtime without its optimizer."""
    model = onnx.load(path)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    pictures = np.ascontiguousarray(images.numpy()[:, ::-1].transpose(0, 2, 3, 1))
    return session.run(names, {"image": pictures})  # type: ignore[return-value]


def test_maps_around_a_fused_step_share_one_scale(network: SemanticNetwork, images: torch.Tensor) -> None:
    scales = choose_scales(network, normalize(images, network))
    assert scales.keys() == {name for name, _ in rounded_modules(network)} - {"encoder.even"}
    for index in range(3):
        assert scales[f"steps.{index}.narrow"] == scales[f"steps.{index}.fuse"]
    # The first step's skip is the last block of the encoder's fifth stage.
    assert scales["encoder.stages.4.0"] == scales["steps.0.fuse"]
    assert scales["steps.0.fuse"] != scales["steps.1.fuse"]


def test_a_map_that_is_rounded_up_stays_in_its_group(network: SemanticNetwork, images: torch.Tensor) -> None:
    scales = choose_scales(network, normalize(images[:, :, :48, :], network))
    assert scales["encoder.even"] == scales["encoder.stages.4.0"] == scales["steps.0.fuse"]


def test_a_network_that_it_cannot_round_is_refused() -> None:
    check_rounds(build("unet_lite", **ARGS))
    with pytest.raises(UsageError, match="would stay in float"):
        check_rounds(build("unet_lite", encoder="mobilenet_v2"))
    with pytest.raises(UsageError, match="would stay in float"):
        check_rounds(build("segnet", width=0.1))


def test_weights_lie_on_their_levels_and_gradients_pass() -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    rounded = round_weight(weight, 63)
    step = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / 63
    steps = rounded.detach() / step
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert not torch.allclose(rounded, weight)
    (rounded * 2.0).sum().backward()
    assert torch.equal(weight.grad, torch.full_like(weight, 2.0))  # type: ignore[arg-type]


def test_a_network_that_rounds_still_learns(network: SemanticNetwork, images: torch.Tensor) -> None:
    x = normalize(images, network)
    scales = choose_scales(network, x)
    simulate_int8(network, scales)
    target = (images.float().mean(1, keepdim=True) > 128).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network.train()(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    outputs: list[torch.Tensor] = []
    network.get_submodule("steps.1.mix.0").register_forward_hook(lambda m, i, o: outputs.append(o.detach()))
    network.eval()(x)
    steps = outputs[0] / scales["steps.1.mix.0"]
    assert torch.allclose(steps, steps.round(), atol=1e-3) and 10 < float(steps.max()) <= 127
    layer = network.get_submodule("encoder.stem")
    assert isinstance(layer, ConvNormAct) and layer.frozen and layer.weight_levels == 63
