"""Training for real on a toy set: it learns, a killed run goes on to the same weights, and another seed differs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeseg.errors import InputError, ModelError, UsageError
from edgeseg.train.checkpoint import read_checkpoint
from edgeseg.train.loop import Run
from edgeseg.train.recipe import Recipe, load_recipe

RECIPE = """
name: toy
classes: [background, person]
network:
  name: unet_lite
  args: {blocks: [1, 1, 1, 1, 1, 1], ratio: [1, 0.25, 0.25, 0.1, 0.1, 0.1], stem: 8, decoder: [16, 16, 8, 8]}
size: [64, 64]
train: [{path: toy, cutouts: true}]
val: [{path: toy}]
steps: 8
phases: [{until: 0.5, sizes: [[32, 64]], batch: 2}, {until: 1.0, sizes: [[64, 64], [32, 64]], batch: 4}]
scenes: {paste: 0.3, empty: 0.1, photometric: {dark: 0.0}}
optimizer: {lr: 0.004, encoder_lr: 0.004, warmup: 4}
ema: 0.9
workers: 0
checkpoint_every: 3
val_every: 100
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A toy set of discs in its folder, and a recipe for it."""
    root = tmp_path / "toy"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    for stem in "abcd":
        mask = np.zeros((96, 96), np.uint8)
        cv2.circle(mask, tuple(int(v) for v in rng.integers(30, 66, 2)), 24, 1, -1)
        image = np.where(mask[..., None] == 1, np.uint8(220), rng.integers(0, 90, (96, 96, 3)).astype(np.uint8))
        cv2.imwrite(str(root / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    (root / "train.txt").write_text("a b c d")
    (tmp_path / "toy.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "toy.yaml")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    body = read_checkpoint(folder / "last.pt")
    return body["ema"] | {f"network.{key}": value for key, value in body["network"].items()}


def test_stopped_and_resumed_gives_the_same_weights(tmp_path: Path, recipe: Recipe) -> None:
    Run(recipe, tmp_path, tmp_path / "whole").fit()
    Run(recipe, tmp_path, tmp_path / "parts").fit(stop_at=5)
    resumed = Run(recipe, tmp_path, tmp_path / "parts")
    assert resumed.step == 5
    resumed.fit()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert len((tmp_path / "whole" / "log.jsonl").read_text().splitlines()) >= 2
    assert list((tmp_path / "whole").glob("events.*"))


def test_dropout_resumes_too(tmp_path: Path, recipe: Recipe) -> None:
    changes = ["network={name: unet, args: {width: 4}}", "size=[188, 188]", "steps=4"]
    dropping = load_recipe(tmp_path / "toy.yaml", [*changes, "phases=[{until: 1.0, sizes: [[188, 188]], batch: 1}]"])
    Run(dropping, tmp_path, tmp_path / "whole").fit()
    Run(dropping, tmp_path, tmp_path / "parts").fit(stop_at=2)
    torch.rand(3)  # what another process did meanwhile
    Run(dropping, tmp_path, tmp_path / "parts").fit()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_sgd_with_other_losses_resumes_too(tmp_path: Path, recipe: Recipe) -> None:
    changes = ["optimizer.kind=sgd", "optimizer.schedule=poly", "loss.lovasz=1", "loss.dice=0", "loss.hardest=0.5"]
    other = load_recipe(tmp_path / "toy.yaml", changes)
    Run(other, tmp_path, tmp_path / "whole").fit()
    Run(other, tmp_path, tmp_path / "parts").fit(stop_at=5)
    Run(other, tmp_path, tmp_path / "parts").fit()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize(
    ("network", "size"),
    [
        ("{name: unet, args: {width: 4, norm: true}}", 188),
        ("{name: segnet, args: {width: 0.1}}", 64),
        ("{name: fcn8s, args: {width: 0.1}}", 64),
        ("{name: fastscnn}", 64),
        ("{name: unet_lite, args: {encoder: small, width: 0.5}}", 64),
        ("{name: deeplabv3plus_mobilenet_v2, args: {width: 16, multiplier: 0.25}}", 64),
    ],
)
def test_each_kind_of_network_trains(tmp_path: Path, recipe: Recipe, network: str, size: int) -> None:
    changes = [
        f"network={network}",
        f"size=[{size}, {size}]",
        f"phases=[{{until: 1, sizes: [[{size}, {size}]], batch: 4}}]",
        "steps=40",
        "scenes={}",
        "optimizer.warmup=1",
        # In bfloat16 a network this small may need longer.
        "amp='off'",
    ]
    run = Run(load_recipe(tmp_path / "toy.yaml", changes), tmp_path, tmp_path / "run")
    run.fit()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    assert 0.0 <= run.validate()["iou/toy"] <= 1.0


def test_another_seed_gives_other_weights(tmp_path: Path, recipe: Recipe) -> None:
    other = load_recipe(tmp_path / "toy.yaml", ["seed=5", "steps=1"])
    one = load_recipe(tmp_path / "toy.yaml", ["steps=1"])
    Run(one, tmp_path, tmp_path / "one").fit()
    Run(other, tmp_path, tmp_path / "other").fit()
    first, second = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert not all(torch.equal(first[key], second[key]) for key in first)


def test_the_best_weights_are_kept_over_a_stop(tmp_path: Path, recipe: Recipe) -> None:
    often = load_recipe(tmp_path / "toy.yaml", ["val_every=1", "checkpoint_every=1"])
    Run(often, tmp_path, tmp_path / "run").fit(stop_at=5)
    Run(often, tmp_path, tmp_path / "run").fit()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["iou/toy"] for line in lines if "iou/toy" in line}
    best = read_checkpoint(tmp_path / "run" / "best.pt")
    assert len(scores) == 8
    assert (best["step"], best["best"]) == (max(scores, key=lambda step: (scores[step], -step)), max(scores.values()))


def test_it_learns(tmp_path: Path, recipe: Recipe) -> None:
    longer = load_recipe(tmp_path / "toy.yaml", ["steps=60", "scenes.paste=0", "scenes.empty=0"])
    run = Run(longer, tmp_path, tmp_path / "learn")
    before = run.validate()["iou/toy"]
    run.fit()
    after = run.validate()["iou/toy"]
    assert after > max(0.5, before)


def test_a_narrower_network_starts_from_a_trained_one(tmp_path: Path, recipe: Recipe) -> None:
    longer = load_recipe(tmp_path / "toy.yaml", ["steps=60", "scenes.paste=0", "scenes.empty=0"])
    wide = Run(longer, tmp_path, tmp_path / "wide")
    wide.fit()
    narrower = "network.args.ratio=[1, 0.25, 0.2, 0.1, 0.1, 0.05]"
    slim = Run(load_recipe(tmp_path / "toy.yaml", [narrower]), tmp_path, tmp_path / "slim", wide.average.network)
    fresh = Run(load_recipe(tmp_path / "toy.yaml", [narrower]), tmp_path, tmp_path / "fresh")
    assert slim.validate()["iou/toy"] > 0.9 * wide.validate()["iou/toy"] > fresh.validate()["iou/toy"]


def test_a_front_of_patches_starts_from_another_front(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.models.fronts.STEPS", 60)
    monkeypatch.setattr("edgeseg.train.start.FRONT_PICTURES", 32)
    first = Run(recipe, tmp_path, tmp_path / "first")
    changes = ["network.args.patch=16", "network.args.decoder=[16, 16, 8]", "init=first.pt"]
    with pytest.raises(UsageError, match="another decoder"):
        Run(load_recipe(tmp_path / "toy.yaml", changes), tmp_path, tmp_path / "patches", first.network)
    shorter = load_recipe(tmp_path / "toy.yaml", changes[1:2])
    first = Run(shorter, tmp_path, tmp_path / "shorter")
    patches = Run(load_recipe(tmp_path / "toy.yaml", changes), tmp_path, tmp_path / "patches", first.network)
    given, own = first.network.encoder, patches.network.encoder
    assert all(
        torch.equal(a, b) for a, b in zip(given.stages[2:].parameters(), own.stages[2:].parameters(), strict=True)
    )
    patches.fit()


def test_a_network_of_the_same_shape_starts_equal(tmp_path: Path, recipe: Recipe) -> None:
    first = Run(recipe, tmp_path, tmp_path / "first")
    second = Run(load_recipe(tmp_path / "toy.yaml", ["seed=9"]), tmp_path, tmp_path / "second", first.network)
    own = second.network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in first.network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("network.args.decoder=[16, 16, 8]", "another decoder"),
        ("network.args.ratio=[1, 0.5, 0.25, 0.1, 0.1, 0.1]", "narrower"),
        ("network.args.blocks=[1, 1, 2, 1, 1, 1]", "shorter"),
        ("network.args.stem=16", "narrower"),
    ],
)
def test_what_init_cannot_fill(tmp_path: Path, recipe: Recipe, change: str, cause: str) -> None:
    first = Run(recipe, tmp_path, tmp_path / "first")
    other = load_recipe(tmp_path / "toy.yaml", [change, "init=first.pt"])
    with pytest.raises(UsageError, match=f"{cause}.*first.pt"):
        Run(other, tmp_path, tmp_path / "second", first.network)


def test_frozen_norms_keep_their_statistics_and_learn(tmp_path: Path, recipe: Recipe) -> None:
    first = Run(recipe, tmp_path, tmp_path / "first")
    first.fit()
    frozen = load_recipe(tmp_path / "toy.yaml", ["freeze_norms=true", "steps=4"])
    second = Run(frozen, tmp_path, tmp_path / "second", first.average.network)
    before = {key: value.clone() for key, value in second.network.state_dict().items()}
    second.fit()
    statistics = {key for key in before if "running" in key or "tracked" in key}
    same = {key for key, value in second.network.state_dict().items() if torch.equal(value, before[key])}
    assert same == statistics != set()


def test_a_teacher_is_followed_and_left_alone(tmp_path: Path, recipe: Recipe) -> None:
    teacher = Run(recipe, tmp_path, tmp_path / "teacher").average.network
    with torch.no_grad():
        teacher.head.weight.zero_()
        teacher.head.bias.fill_(4.0)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    taught = load_recipe(tmp_path / "toy.yaml", ["steps=80", "distill=50.0"])
    run = Run(taught, tmp_path, tmp_path / "taught", teachers=[teacher])
    run.fit()
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    # This teacher calls everything person, and weighs more than the labels.
    with torch.no_grad():
        assert float((run.network(torch.zeros(1, 3, 64, 64)) > 0).float().mean()) > 0.7


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        read_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ModelError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "text.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not a checkpoint of edgeseg"):
        read_checkpoint(tmp_path / "other.pt")


def test_int8_from_a_share_of_the_run_on_resumes_too(tmp_path: Path, recipe: Recipe) -> None:
    other = load_recipe(tmp_path / "toy.yaml", ["int8_from=0.5"])
    whole = Run(other, tmp_path, tmp_path / "whole")
    whole.fit(stop_at=4)
    assert whole.int8_scales is None
    whole.fit(stop_at=6)
    assert whole.int8_scales
    whole.fit()
    Run(other, tmp_path, tmp_path / "parts").fit(stop_at=6)
    Run(other, tmp_path, tmp_path / "parts").fit()
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[key], two[key]) for key in one)
