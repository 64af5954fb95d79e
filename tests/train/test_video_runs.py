"""Training a network with memory on single pictures: where the picture does not say, the frame before does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeseg.errors import UsageError
from edgeseg.train.loop import Run
from edgeseg.train.recipe import Recipe, load_recipe
from edgeseg.train.start import normalize, pictures

RECIPE = """
name: toy
classes: [background, person]
network:
  name: unet_video
  args: {blocks: [1, 1, 1, 1, 1], ratio: [1, 0.25, 0.25, 0.1, 0.1], stem: 8, decoder: [16, 16, 8]}
size: [64, 64]
train: [{path: toy}]
val: [{path: toy}]
steps: 8
phases: [{until: 1.0, sizes: [[64, 64]], batch: 4}]
optimizer: {lr: 0.004, encoder_lr: 0.004, warmup: 4}
ema: 0.9
workers: 0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Discs that the pictures, all noise, do not show."""
    root = tmp_path / "toy"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        mask = np.zeros((96, 96), np.uint8)
        cv2.circle(mask, tuple(int(v) for v in rng.integers(20, 76, 2)), 24, 1, -1)
        cv2.imwrite(str(root / "images" / f"{number}.png"), rng.integers(0, 256, (96, 96, 3)).astype(np.uint8))
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
    (root / "train.txt").write_text(" ".join(str(number) for number in range(12)))
    (tmp_path / "toy.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "toy.yaml")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.average.network.state_dict()


def test_it_resumes_to_the_same_weights(tmp_path: Path, recipe: Recipe) -> None:
    whole = Run(recipe, tmp_path, tmp_path / "whole")
    whole.fit()
    Run(recipe, tmp_path, tmp_path / "parts").fit(stop_at=5)
    parts = Run(recipe, tmp_path, tmp_path / "parts")
    parts.fit()
    assert all(torch.equal(value, weights(parts)[key]) for key, value in weights(whole).items())


def test_it_learns_what_the_frame_before_is_good_for(tmp_path: Path, recipe: Recipe) -> None:
    # Never empty, never wrong; the pictures stay what they are, or a smooth blob would be seen in them.
    changes = ["steps=160", "memory={empty: 0.0, moved: 1.0, wrong: 0.0}", "scenes={geometric: {plain: 1.0}}"]
    run = Run(load_recipe(tmp_path / "toy.yaml", changes), tmp_path, tmp_path / "run")
    run.fit()
    network = run.average.network
    rng = np.random.default_rng(9)
    noise = rng.integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)
    truth = np.zeros((64, 64), np.uint8)
    cv2.circle(truth, (40, 25), 15, 1, -1)
    told = np.concatenate([noise, truth[None, None] * np.uint8(255)], axis=1)
    with torch.no_grad():
        given = network(normalize(torch.from_numpy(told), network))[0, 0].numpy() > 0
    assert (given & (truth == 1)).sum() / (given | (truth == 1)).sum() > 0.7
    # Nothing is remembered of the single pictures of a validation set, and they say nothing.
    assert run.validate()["iou/toy"] < 0.5


def test_it_starts_from_a_network_without_memory(tmp_path: Path, recipe: Recipe) -> None:
    plain = Run(load_recipe(tmp_path / "toy.yaml", ["network.name=unet_lite"]), tmp_path, tmp_path / "plain")
    video = Run(load_recipe(tmp_path / "toy.yaml", ["seed=5"]), tmp_path, tmp_path / "video", plain.network)
    x = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(video.network.eval()(x), plain.network.eval()(x[:, :3]))


def test_slimming_is_for_networks_without_memory(tmp_path: Path, recipe: Recipe) -> None:
    wide = Run(load_recipe(tmp_path / "toy.yaml", ["network.name=unet_lite"]), tmp_path, tmp_path / "wide")
    narrower = load_recipe(tmp_path / "toy.yaml", ["network.args.ratio=[1, 0.2, 0.2, 0.1, 0.1]"])
    with pytest.raises(UsageError, match="memory cannot be slimmed: unet_video"):
        Run(narrower, tmp_path, tmp_path / "video", wide.network)


def test_a_memory_is_not_dropped_in_silence(tmp_path: Path, recipe: Recipe) -> None:
    video = Run(recipe, tmp_path, tmp_path / "video")
    plain = load_recipe(tmp_path / "toy.yaml", ["network.name=unet_lite", "init=video.pt"])
    with pytest.raises(UsageError, match="init has a memory"):
        Run(plain, tmp_path, tmp_path / "plain", video.network)


@pytest.mark.parametrize(("student", "teacher"), [("unet_lite", "unet_video"), ("unet_video", "unet_lite")])
def test_a_teacher_may_have_a_memory_or_none(tmp_path: Path, recipe: Recipe, student: str, teacher: str) -> None:
    first = Run(load_recipe(tmp_path / "toy.yaml", [f"network.name={teacher}"]), tmp_path, tmp_path / "teacher")
    taught = load_recipe(tmp_path / "toy.yaml", [f"network.name={student}", "steps=2"])
    Run(taught, tmp_path, tmp_path / "student", None, [first.network]).fit()
    assert (tmp_path / "student" / "last.pt").is_file()


def test_it_is_trained_on_rounded_values_with_a_memory(tmp_path: Path, recipe: Recipe) -> None:
    pictured = pictures(Run(recipe, tmp_path, tmp_path / "run").network, recipe, lambda rng, size: sample(rng, size))
    assert pictured.shape[1] == 4 and float(pictured[:, 3].max()) == 1.0
    run = Run(load_recipe(tmp_path / "toy.yaml", ["int8_from=0.5"]), tmp_path, tmp_path / "int8")
    run.fit()
    assert run.int8_scales


def sample(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A gray picture whose middle is the foreground."""
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4] = 1
    return np.full((*size, 3), 127, np.uint8), mask
