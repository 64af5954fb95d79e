"""Half precision: float16 and bfloat16 learn, float16's scale finds its size and is resumed, and typing errors are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from own_set import draw_set
from torch import nn

from edgeseg.errors import UsageError
from edgeseg.models import build
from edgeseg.train.checkpoint import read_checkpoint
from edgeseg.train.half import autocast, half_type, make_scaler
from edgeseg.train.loop import Run
from edgeseg.train.recipe import Recipe, load_recipe

SMALL: dict[str, Any] = {"blocks": [1] * 5, "ratio": [1, 0.25, 0.25, 0.1, 0.1], "stem": 8, "decoder": [16, 8]}
RECIPE = f"""
name: toy
classes: [floor, ball, box]
network: {{name: unet_lite, args: {SMALL}}}
size: [64, 64]
train: [{{path: toy}}]
steps: 40
phases: [{{until: 1.0, sizes: [[64, 64]], batch: 4}}]
optimizer: {{lr: 0.004, encoder_lr: 0.004, warmup: 4}}
scenes: {{geometric: {{plain: 1.0}}}}
ema: 0.9
workers: 0
"""
CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw_set(tmp_path / "toy", (72, 72), 5, 4, radius=12, rows=(20, 50), columns=(16, 30), box=(20, 36, 10))
    (tmp_path / "toy.yaml").write_text(RECIPE)
    return tmp_path


def recipe(data: Path, *changes: str) -> Recipe:
    return load_recipe(data / "toy.yaml", changes)


def scaled(run: Run, scale: float) -> Run:
    """The run, its loss multiplied by `scale` from now on."""
    run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": scale})
    return run


@pytest.mark.parametrize(
    ("mode", "wanted"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("off", None), ("auto", torch.bfloat16)]
)
def test_the_forward_pass_has_the_type_of_the_recipe(
    data: Path, mode: str, wanted: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for a CPU that computes in bfloat16.
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    run = Run(recipe(data, f"amp={mode}"), data, data / "run")
    seen = set()
    for layer in run.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, given, y: seen.add(y.dtype))
    run.fit(stop_at=1)
    assert seen == {wanted or torch.float32}
    assert run.scaler.is_enabled() == (mode == "fp16")


def test_auto_leaves_a_cpu_without_bfloat16_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stand-ins for a CPU that does not compute in it.
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert half_type("auto", CPU) is None
    assert half_type("bf16", CPU) is torch.bfloat16


def test_a_mode_that_is_none_names_the_nearest(data: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown amp: fp61. Did you mean 'fp16'. Known: auto, bf16, fp16, off"):
        recipe(data, "amp=fp61")
    with pytest.raises(UsageError, match="amp is no str: 16"):
        recipe(data, "amp=16")
    with pytest.raises(UsageError, match="unknown amp"):
        half_type("none", CPU)


def test_off_needs_no_quotes(data: Path) -> None:
    (data / "toy.yaml").write_text(RECIPE + "amp: off\n")
    assert recipe(data).amp == "off"
    assert recipe(data, "amp='off'").amp == recipe(data, "amp=off").amp == "off"


@pytest.mark.parametrize("mode", ["fp16", "bf16"])
def test_the_loss_falls(data: Path, mode: str) -> None:
    run = Run(recipe(data, f"amp={mode}"), data, data / "run")
    run.fit(stop_at=1)
    run.fit()
    lines = [json.loads(line) for line in (data / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    assert all(bool(torch.isfinite(value).all()) for value in run.average.network.state_dict().values())


def test_float16_resumes_to_the_same_weights_and_scale(data: Path) -> None:
    chosen = recipe(data, "amp=fp16", "steps=14")
    # Too large at first, so that the scale moves before and after the stop.
    whole = scaled(Run(chosen, data, data / "whole"), 2.0**30)
    whole.fit()
    scaled(Run(chosen, data, data / "parts"), 2.0**30).fit(stop_at=3)
    resumed = Run(chosen, data, data / "parts")
    assert resumed.scaler.state_dict()["scale"] == 2.0**27
    resumed.fit()
    one, two = (read_checkpoint(data / name / "last.pt") for name in ("whole", "parts"))
    assert one["scaler"] == two["scaler"] and 1.0 < one["scaler"]["scale"] < 2.0**27
    assert all(torch.equal(one[part][key], two[part][key]) for part in ("network", "ema") for key in one[part])
    # A checkpoint of float32 has no scale to go on from.
    Run(recipe(data, "amp=off"), data, data / "float").fit(stop_at=1)
    assert Run(chosen, data, data / "float").scaler.state_dict()["scale"] == 2.0**16


def test_a_step_whose_gradients_overflow_is_left_out(data: Path) -> None:
    run = scaled(Run(recipe(data, "amp=fp16"), data, data / "run"), 2.0**60)
    before = {key: value.clone() for key, value in run.network.named_parameters()}
    run.fit(stop_at=1)
    assert all(torch.equal(value, before[key]) for key, value in run.network.named_parameters())
    assert run.scaler.state_dict()["scale"] == 2.0**59


def test_gradients_are_clipped_at_their_own_size(data: Path) -> None:
    sgd = "optimizer={kind: sgd, lr: 0.5, encoder_lr: 0.5, momentum: 0.0, weight_decay: 0.0, warmup: 1, clip: 0.01}"
    run = Run(recipe(data, "amp=fp16", sgd), data, data / "run")
    before = {key: value.detach().clone() for key, value in run.network.named_parameters()}
    run.fit(stop_at=1)
    moved = sum(float((value.detach() - before[key]).square().sum()) for key, value in run.network.named_parameters())
    assert moved**0.5 == pytest.approx(0.5 * 0.01, rel=0.01)


def test_int8_is_learned_in_float32(data: Path) -> None:
    chosen = recipe(data, "amp=fp16", "steps=6", "int8_from=0.5")
    whole = Run(chosen, data, data / "whole")
    assert whole.half is torch.float16
    whole.fit()
    assert whole.half is None and not whole.scaler.is_enabled()
    Run(chosen, data, data / "parts").fit(stop_at=4)
    parts = Run(chosen, data, data / "parts")
    assert parts.half is None and not parts.scaler.is_enabled()
    parts.fit()
    one, two = (run.network.state_dict() for run in (whole, parts))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["fp16", "bf16"])
def test_autocast_and_scale_on_a_gpu(mode: str) -> None:
    torch.manual_seed(0)
    cuda = torch.device("cuda")
    half, network = half_type(mode, cuda), build("unet_lite", **SMALL).to(cuda)
    scaler, optimizer = make_scaler(half, cuda), torch.optim.SGD(network.parameters(), 0.05)
    x = torch.randn(4, 3, 64, 64, device=cuda)
    losses = []
    for _ in range(10):
        with autocast(half, x):
            logits = network(x)
        assert logits.dtype is half
        loss = (logits.float() - 1.0).square().mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
