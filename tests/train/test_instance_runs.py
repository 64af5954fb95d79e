"""A run on instances: it learns, resumes exactly, measures by pycocotools and draws what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeseg.data.instances import stacked
from edgeseg.errors import UsageError
from edgeseg.train.instances import InstanceTask, detect, fitted, target_of
from edgeseg.train.loop import Run
from edgeseg.train.recipe import load_recipe

RECIPE = """
name: toy
classes: [background, box]
size: [96, 128]
network:
  name: maskrcnn_efficientnet_lite0
  args: {width: 16, hidden: 32, mask_depth: 1, regions: 16, anchors: [16, 32, 48, 64, 96],
         blocks: [1, 1, 1, 1, 1, 1], ratio: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1], stem: 8}
train: [{path: toy, cutouts: true}]
val: [{path: toy}]
steps: 4
phases: [{until: 1.0, sizes: [[96, 128]], batch: 2}]
scenes: {paste: 0.3, people: 1}
optimizer: {lr: 0.002, encoder_lr: 0.002, warmup: 5}
ema: 0.9
workers: 0
val_every: 4
checkpoint_every: 2
seed: 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "toy" / name).mkdir(parents=True)
    for stem in "abcd":
        mask = np.zeros((96, 128), np.uint8)
        x, y = rng.integers(0, 70), rng.integers(0, 40)
        mask[y : y + 48, x : x + 40] = 1
        image = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8)
        image[mask == 1] += 150
        cv2.imwrite(str(tmp_path / "toy" / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(tmp_path / "toy" / "masks" / f"{stem}.png"), mask)
    (tmp_path / "toy" / "train.txt").write_text("a b c d")
    (tmp_path / "toy.yaml").write_text(RECIPE)
    return tmp_path


def test_a_run_writes_figures_pictures_and_checkpoints(folder: Path) -> None:
    Run(load_recipe(folder / "toy.yaml"), folder, folder / "run").fit()
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "ap/toy" in line]
    assert [line["step"] for line in measured] == [4]
    assert set(measured[0]) == {"step", "ap/toy", "ap50/toy"}
    assert cv2.imread(str(folder / "run" / "samples.jpg")) is not None
    assert (folder / "run" / "best.pt").exists()


def test_a_stopped_run_goes_on_to_the_same_weights(folder: Path) -> None:
    recipe = load_recipe(folder / "toy.yaml")
    whole = Run(recipe, folder, folder / "whole")
    whole.fit()
    Run(recipe, folder, folder / "parts").fit(stop_at=2)
    resumed = Run(recipe, folder, folder / "parts")
    assert resumed.step == 2
    resumed.fit()
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


@pytest.mark.parametrize("mode", ["fp16", "bf16"])
def test_half_precision_trains(folder: Path, mode: str) -> None:
    changes = [f"amp={mode}", "steps=2", "val=[]"]
    run = Run(load_recipe(folder / "toy.yaml", changes), folder, folder / "run")
    before = {key: value.detach().clone() for key, value in run.network.named_parameters()}
    run.fit()
    after = dict(run.network.named_parameters())
    # A norm's weights may be those that frozen statistics leave alone.
    assert sum(not torch.equal(value, before[key]) for key, value in after.items()) > 0.9 * len(after)
    assert all(bool(torch.isfinite(value).all()) for value in run.network.state_dict().values())
    if mode == "fp16":
        assert run.scaler.state_dict()["_growth_tracker"] == 2  # no step overflowed


def test_the_encoder_has_its_own_rate(folder: Path) -> None:
    run = Run(load_recipe(folder / "toy.yaml", ["optimizer.encoder_lr=0.5"]), folder, folder / "run")
    slow = {id(p) for group in run.optimizer.param_groups if group["highest"] == 0.5 for p in group["params"]}
    assert slow == {id(parameter) for parameter in run.network.encoder.parameters()}


RESNET = "network={name: maskrcnn_resnet18, args: {width: 8, hidden: 16, mask_depth: 1, regions: 8}}"


@pytest.mark.parametrize("changes", [[], [RESNET, "steps=1"]])
def test_frozen_norms_keep_their_statistics(folder: Path, changes: list[str]) -> None:
    run = Run(load_recipe(folder / "toy.yaml", ["freeze_norms=true", *changes]), folder, folder / "run")
    means = {key: value.clone() for key, value in run.network.state_dict().items() if "running_" in key}
    run.fit()
    assert means
    for key, value in means.items():
        assert torch.equal(value, run.network.state_dict()[key]), key


@pytest.mark.parametrize("change", ["int8_from=0.5", "teachers=[person]", "loss.focal=1"])
def test_what_instances_do_not_have_is_refused(folder: Path, change: str) -> None:
    with pytest.raises(UsageError, match=change.partition("=")[0].partition(".")[0]):
        Run(load_recipe(folder / "toy.yaml", [change]), folder, folder / "run")


def test_what_could_not_be_exported_or_measured_is_said_at_the_start(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no multiple of the stride: 90x128. Give 96x128"):
        Run(load_recipe(folder / "toy.yaml", ["size=[90, 128]"]), folder, folder / "run")
    for stem in "abcd":
        cv2.imwrite(str(folder / "toy" / "masks" / f"{stem}.png"), np.zeros((96, 128), np.uint8))
    with pytest.raises(UsageError, match="shows no instance: toy"):
        Run(load_recipe(folder / "toy.yaml"), folder, folder / "run")


def test_targets_hold_what_the_detector_takes() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:9, 10:20] = True
    target = target_of(stacked([mask], [2], [False], (20, 30)))
    assert target["boxes"].tolist() == [[10.0, 5.0, 20.0, 9.0]]
    assert target["labels"].tolist() == [2] and target["labels"].dtype == torch.int64
    assert target["masks"].dtype == torch.uint8 and int(target["masks"].sum()) == 40


def test_pictures_and_masks_are_stretched_together() -> None:
    mask = np.zeros((20, 30), bool)
    mask[:10] = True
    image, instances = fitted(np.zeros((20, 30, 3), np.uint8), stacked([mask], [1], [True], (20, 30)), (40, 15))
    assert image.shape == (40, 15, 3)
    assert instances.masks.shape == (1, 40, 15) and instances.masks[0, :20].all() and not instances.masks[0, 20:].any()
    assert instances.crowd.all()


def test_answers_have_the_size_of_the_picture(folder: Path) -> None:
    task = InstanceTask(load_recipe(folder / "toy.yaml"), folder)
    task.network.detector.roi_heads.score_thresh = 0.0
    found = detect(task.network, np.zeros((96, 128, 3), np.uint8))
    assert found.instances.masks.shape == (len(found.scores), 96, 128)
    assert len(found.scores) > 0
