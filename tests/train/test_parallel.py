"""Two real processes that torchrun starts, over gloo, beside one process with the doubled batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeseg.train.checkpoint import read_checkpoint
from edgeseg.train.loop import Run
from edgeseg.train.recipe import load_recipe

# Without norms, whose statistics are those of one process' samples, both must do the very same.
# AdamW would divide tiny differences by tiny gradients, and bfloat16 would round them differently.
RECIPE = """
name: toy
classes: [background, disc]
network: {name: unet, args: {width: 4, dropout: 0.0}}
size: [188, 188]
train: [{path: toy}]
val: [{path: toy}]
steps: 4
phases: [{until: 1.0, sizes: [[188, 188]], batch: BATCH}]
optimizer: {kind: sgd, lr: 0.05, warmup: 1}
workers: 0
amp: "off"
checkpoint_every: 2
val_every: 100
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures of a disc, and the recipe with one picture a batch and with two."""
    for name in ("images", "masks"):
        (tmp_path / "toy" / name).mkdir(parents=True)
    for index, stem in enumerate("abcd"):
        mask = np.zeros((120, 120), np.uint8)
        cv2.circle(mask, (30 + 20 * index, 60), 20, 1, -1)
        cv2.imwrite(str(tmp_path / "toy" / "images" / f"{stem}.png"), np.repeat(mask[..., None] * 200, 3, axis=2))
        cv2.imwrite(str(tmp_path / "toy" / "masks" / f"{stem}.png"), mask)
    (tmp_path / "toy" / "train.txt").write_text("a b c d")
    for batch in (1, 2):
        (tmp_path / f"batch{batch}.yaml").write_text(RECIPE.replace("BATCH", str(batch)))
    return tmp_path


def torchrun(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "edgeseg", "train", str(data / "batch1.yaml"), "--data", str(data), "--out", str(out), *more]
    # The package under test, wherever it is, not whatever lies in the current folder.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, timeout=240)


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_do_what_one_does_with_the_doubled_batch(data: Path) -> None:
    done = torchrun(data, data / "two", "--stop-at", "2")
    assert done.returncode == 0, done.stderr
    # The second half starts from the checkpoint, which both processes read.
    done = torchrun(data, data / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: edgeseg export") == 1
    one = Run(load_recipe(data / "batch2.yaml"), data, data / "one")
    one.fit(stop_at=2)
    Run(load_recipe(data / "batch2.yaml"), data, data / "one").fit()
    assert losses(data / "two") == pytest.approx(losses(data / "one"), abs=2e-5)
    assert len(losses(data / "two")) == 2
    mine, theirs = (read_checkpoint(data / name / "last.pt")["network"] for name in ("two", "one"))
    assert all(torch.allclose(mine[key], theirs[key], atol=1e-4) for key in mine)
    # Alone, with half of the batch, the weights would be others.
    Run(load_recipe(data / "batch1.yaml"), data, data / "half").fit()
    half = read_checkpoint(data / "half" / "last.pt")["network"]
    assert not all(torch.allclose(half[key], theirs[key], atol=1e-4) for key in half)
