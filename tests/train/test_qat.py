"""`quantize --qat`: rounding in the right places of any network, and what a short training wins back."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from own_set import draw_set
from torch import Tensor, nn

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.calib.ranges import Ranges, file_sha256
from edgeseg.cli.main import main
from edgeseg.cli.quantize import score
from edgeseg.data.geometric import Geometric
from edgeseg.data.pool import SetConfig
from edgeseg.data.scenes import Scenes
from edgeseg.errors import ModelError
from edgeseg.export import graph as g
from edgeseg.export.from_checkpoint import class_map, load_for_export
from edgeseg.export.quantize import Plan, plan, quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.models import build
from edgeseg.models.base import SemanticNetwork
from edgeseg.models.blocks import ConvNormAct
from edgeseg.models.ops import UpsampleCropConcat
from edgeseg.train import qat
from edgeseg.train.loop import Run
from edgeseg.train.optimizer import OptimizerConfig
from edgeseg.train.qat import train_for_int8
from edgeseg.train.recipe import NetworkConfig, Phase, Recipe
from edgeseg.train.rounding import find_rounding
from edgeseg.train.start import normalize

SIZE = (48, 64)
SMALL: dict[str, Any] = {"blocks": [1, 1, 1, 1, 1], "ratio": [1, 0.25, 0.25, 0.1, 0.1], "stem": 8, "decoder": [16, 16]}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only lose by threads, a lot of it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mine/ (the set), model.onnx (a trained depthwise network), ranges.json and harsh.json (96 times as wide)."""
    folder = tmp_path_factory.mktemp("workshop")
    draw_set(folder / "mine", SIZE, 24, 12, radius=9, rows=(14, 34), columns=(11, 24), box=(17, 33, 8))
    recipe = Recipe(
        name="own",
        classes=("floor", "ball", "box"),
        network=NetworkConfig("unet_lite", SMALL),
        size=SIZE,
        train=(SetConfig("mine"),),
        steps=100,
        phases=(Phase(1.0, (SIZE,), 4),),
        optimizer=OptimizerConfig(lr=0.01, encoder_lr=0.01, warmup=5),
        scenes=Scenes(geometric=Geometric(plain=1.0)),
        ema=0.9,
        workers=0,
    )
    run = Run(recipe, folder, folder / "run")
    run.fit()
    network, manifest = load_for_export(folder / "run" / "last.pt")
    export_onnx(network, manifest, folder / "model.onnx")
    ranges = calibrate(folder / "model.onnx", folder / "mine" / "images", out=folder / "ranges.json")
    wide = {name: (96 * low, 96 * high) for name, (low, high) in ranges.tensors.items()}
    # Without what equalization needs, which training leaves out too.
    dataclasses.replace(ranges, tensors=wide, channels={}).save(folder / "harsh.json")
    return folder


def call(*words: object) -> int:
    """The command line in this process."""
    return main([str(word) for word in words])


def quantize_with(folder: Path, out: Path, *more: object) -> int:
    """`quantize` with the harsh ranges."""
    return call("quantize", folder / "model.onnx", "--ranges", folder / "harsh.json", "-o", out, *more)


def test_a_short_training_wins_back_what_harsh_steps_cost(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(model: Path, ranges: Ranges, data: Path, out: Path, *more: Any, **options: Any) -> Ranges:
        found = train_for_int8(model, ranges, data, out, *more, **options)
        shutil.copyfile(out, workshop / "trained.onnx")
        return found

    monkeypatch.setattr(qat, "train_for_int8", kept)
    before = (workshop / "model.onnx").read_bytes()
    assert quantize_with(workshop, workshop / "plain.onnx") == 0
    words = ["--qat", "--qat-steps", 50, "--qat-rate", 0.001, "--qat-seed", 3, "--data", workshop / "mine"]
    assert (
        quantize_with(workshop, tmp_path / "int8.onnx", *words, "--max-drop", 100, "--json", tmp_path / "f.json") == 0
    )
    files = [workshop / "model.onnx", workshop / "plain.onnx", workshop / "trained.onnx", tmp_path / "int8.onnx"]
    whole, plain, trained, int8 = (score(path, workshop / "mine", "val") for path in files)
    lost, told = whole - plain, f"{whole:.3f} in float, {plain:.3f} plain, {trained:.3f} trained, {int8:.3f} in int8"
    assert lost > 0.1, told
    assert int8 - plain > 0.5 * lost, told
    # Not by longer training alone, which would lift the float network just as far.
    assert trained - int8 < 0.5 * lost, told
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["score_fp32"], figures["score_int8"]) == pytest.approx((whole, int8))
    assert figures["drop_points"] == pytest.approx(100 * (whole - int8))
    # The steps are those that were asked for, and nothing is left of the way there.
    one, two = (g.weights(onnx.load(path).graph) for path in (workshop / "plain.onnx", tmp_path / "int8.onnx"))
    steps = [name for name in one if name.endswith(".scale") and not g.array(one[name]).ndim]
    assert len(steps) > 15 and all(g.array(one[name]) == g.array(two[name]) for name in steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "int8.onnx"]
    assert (workshop / "model.onnx").read_bytes() == before
    _, manifest = read_model(tmp_path / "int8.onnx")
    about = manifest.origin["qat"]
    assert (about["steps"], about["rate"], about["seed"], about["split"]) == (50, 0.001, 3, "train")
    assert about["ranges"] == Ranges.load(workshop / "harsh.json").fingerprint
    assert manifest.origin["parent_sha256"] == file_sha256(workshop / "model.onnx")
    assert (manifest.precision, manifest.architecture["name"]) == ("int8", "unet_lite")


def test_a_signal_leaves_no_file_and_none_harmed(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Run._step

    def interrupted(run: Run, batch: Any) -> float:
        if run.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(run, batch)

    monkeypatch.setattr(Run, "_step", interrupted)
    out = tmp_path / "int8.onnx"
    out.write_text("what was there")
    # Whoever starts the tests in the background may have them ignore this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert quantize_with(workshop, out, "--qat", "--data", workshop / "mine", "--qat-steps", "500") == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert "stopped by a signal" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"] and out.read_text() == "what was there"


def relabelled(folder: Path, path: Path, **fields: Any) -> Path:
    """The workshop's model with another manifest, and its ranges beside it."""
    model, manifest = read_model(folder / "model.onnx")
    manifest = dataclasses.replace(manifest, **fields)
    kept = {item.key: item.value for item in model.metadata_props}
    onnx.helper.set_model_props(model, kept | {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    ranges = dataclasses.replace(Ranges.load(folder / "ranges.json"), model_sha256=file_sha256(path))
    ranges.save(path.with_name("ranges.json"))
    return path


@pytest.mark.parametrize(
    "fields, code, told",
    [
        ({"task": "instance"}, 2, "instance models are not trained for int8"),
        ({"architecture": {}}, 4, "does not say which network it holds"),
        ({"architecture": {"name": "unet_lite", "args": SMALL | {"stem": 12}}}, 4, "belongs to another network"),
    ],
    ids=["instances", "no architecture", "another network"],
)
def test_what_cannot_be_trained(
    fields: dict[str, Any], code: int, told: str, workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = relabelled(workshop, tmp_path / "model.onnx", **fields)
    words = ["--ranges", tmp_path / "ranges.json", "-o", tmp_path / "int8.onnx", "--qat", "--data", workshop / "mine"]
    assert call("quantize", model, *words) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["--qat"], 2, "--data"),
        (["--qat-steps", "5"], 2, "--qat-steps"),
        (["--qat-rate", "0.1", "--max-drop", "1", "--data", "mine"], 2, "--qat-rate"),
        (["--qat", "--qat-steps", "0", "--data", "mine"], 2, "bad number of steps"),
        (["--qat", "--data", "mine", "--frames", "mine"], 2, "--frames"),
        (["--qat", "--data", "elsewhere"], 3, "elsewhere"),
        (["--qat", "--data", "mine", "--max-drop", "1", "--split", "test"], 3, "test.txt"),
        (["--data", "mine"], 2, "--max-drop"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage(
    words: list[str],
    code: int,
    told: str,
    workshop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workshop)
    assert quantize_with(workshop, tmp_path / "int8.onnx", *words) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and told in errors[0]
    assert not list(tmp_path.iterdir())


class Odd(SemanticNetwork):
    """What blocks of this package do not have: an activation called twice, in place; sums and joints of no module."""

    def __init__(self) -> None:
        super().__init__(stride=4)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
        self.deepwise, self.norm = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.relu, self.same = nn.ReLU(inplace=True), nn.Identity()
        self.project = nn.Conv2d(8, 8, 1)
        self.down = ConvNormAct(8, 16, 3, 2)
        self.fuse = UpsampleCropConcat(2)
        self.mix = nn.Conv2d(24, 8, 1)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(self.first(x))
        y = self.relu(self.norm(self.deepwise(x)))
        z = self.relu(x + self.project(y))
        mixed = F.relu(self.mix(self.fuse(self.down(z), z)))
        logits: Tensor = self.head(torch.cat([mixed, x], dim=1))
        return F.interpolate(logits, scale_factor=2.0)


def test_any_network_rounds_where_its_file_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, rng = Odd(), np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8), (64, 48)) for _ in range(6)]
    rgb = np.stack([picture[..., ::-1].transpose(2, 0, 1) for picture in pictures])
    x = normalize(torch.from_numpy(np.ascontiguousarray(rgb)), network)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        network.train()(x)
    network.eval()
    manifest = Manifest("odd", class_map(["a", "b", "c"]), *SIZE, outputs=("label_map", "logits"))
    export_onnx(network, manifest, tmp_path / "model.onnx")
    (tmp_path / "frames").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), picture)
    ranges = calibrate(tmp_path / "model.onnx", tmp_path / "frames")
    # The camera's bytes are rounded in the file alone, so the first layer stays in float in both.
    quantize(tmp_path / "model.onnx", ranges, tmp_path / "int8.onnx", keep_float=["first.0"], equalize=False)
    made = plan(read_model(tmp_path / "model.onnx")[0], ranges, ["first.0"])
    rounding = find_rounding(network, made, x[:1])
    assert rounding.outputs.keys() == {"first", "down", "fuse"}
    assert rounding.inputs.keys() == {"project", "down", "fuse", "head"}
    assert rounding.weights == {"deepwise": 127, "project": 63, "down": 63, "mix": 63, "head": 63}
    rounded = copy.deepcopy(network)
    rounding.apply(rounded)
    rounded = copy.deepcopy(rounded)
    with torch.no_grad():
        mine, exact = rounded(x).numpy(), network(x).numpy()
    real = logits_of(tmp_path / "int8.onnx", np.stack(pictures))
    assert np.abs(mine - real).mean() < 0.15 * np.abs(exact - real).mean()
    assert rounded.state_dict().keys() == network.state_dict().keys()
    rounded.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in rounded.parameters())


def logits_of(path: Path, pictures: np.ndarray) -> np.ndarray:
    """By ONNX Runtime without its optimizer, which changes last bits."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": pictures})[0])


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("unet_lite", {"encoder": "mobilenet_v2", "multiplier": 0.35, "decoder": [16, 16, 8]}),
        ("unet_lite", {"encoder": "mobilenet_v3_small", "decoder": [16, 16, 8]}),
        ("deeplabv3plus_resnet18", {"width": 16, "skip": 8}),
        ("fastscnn", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("encoder", ""),
)
def test_every_convolution_is_found(name: str, arguments: dict[str, Any]) -> None:
    network = build(name, classes=3, **arguments).eval()
    paths = [path for path, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    nodes = tuple(onnx.helper.make_node("Conv", [f"{path}.in", "w"], [f"{path}.out"], path) for path in paths)
    tensors = {node.input[0]: node.input[0] for node in nodes}
    made = Plan(tuple(paths), nodes, (), tensors, {tensor: np.float32(0.05) for tensor in tensors})
    x = torch.randn(1, 3, 64, 64)
    rounding = find_rounding(network, made, x)
    assert len(rounding.weights) == len(paths)
    rounding.apply(network)
    seen: list[Tensor] = []
    for path, module in network.named_modules():
        if path in rounding.weights:
            module.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(x)
    # All but the first, which reads the picture, get values that lie on the levels.
    steps = [float((values / 0.05 - torch.round(values / 0.05)).abs().max()) for values in seen]
    assert len(steps) == len(paths) and sum(step > 1e-3 for step in steps) <= 1, steps
    strange = dataclasses.replace(made, layers=(onnx.helper.make_node("Conv", ["a", "w"], ["b"], "gone"),))
    with pytest.raises(ModelError, match="gone"):
        find_rounding(network, strange, x)
