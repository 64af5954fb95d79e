"""A run that is killed between two checkpoints, as by the kernel or a power cut, ends with the very weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from own_set import draw_set

from edgeseg.train.checkpoint import read_checkpoint

RECIPE = """
name: toy
network: {name: unet_lite, args: {blocks: [1, 1, 1, 1, 1], ratio: [1, 0.25, 0.25, 0.1, 0.1], stem: 8, decoder: [16, 8]}}
size: [64, 64]
train: [{path: toy}]
val: [{path: toy, split: val}]
steps: 10
phases: [{until: 0.7, sizes: [[64, 64]], batch: 2}, {until: 1.0, sizes: [[32, 64]], batch: 4}]
optimizer: {lr: 0.004, encoder_lr: 0.004, warmup: 3}
ema: 0.9
checkpoint_every: 3
val_every: 4
"""
# The validation of step 4 is logged before its pictures are drawn; the next checkpoint is two steps and that away.
SAVED, SEEN = 3, 4
LIMIT_S = 200.0


def begin(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """`edgeseg train` in a process of its own, which writes into `name`; its words go into `name`.txt."""
    words = ["train", str(folder / "toy.yaml"), "--data", str(folder), "--out", str(folder / name)]
    with (folder / f"{name}.txt").open("wb") as said:
        # One thread each: two runs side by side must not share sums differently.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "edgeseg", *words]
        return subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)


def logged(folder: Path, name: str) -> int:
    """The last step of which the run has told anything; 0 before."""
    log = folder / name / "log.jsonl"
    # The last line may be half written.
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def kill_between_checkpoints(folder: Path, name: str) -> None:
    """Start the run and kill it once it has gone beyond its first checkpoint."""
    process = begin(folder, name)
    try:
        until = time.monotonic() + LIMIT_S
        while logged(folder, name) < SEEN:
            assert process.poll() is None and time.monotonic() < until, (folder / f"{name}.txt").read_text()
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL


def finish(folder: Path, name: str, process: subprocess.Popen[bytes]) -> None:
    try:
        assert process.wait(LIMIT_S) == 0, (folder / f"{name}.txt").read_text()
    finally:
        process.kill()


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same state, to the last bit."""
    first, second = read_checkpoint(one), read_checkpoint(other)
    assert first.keys() == second.keys() and first["step"] == second["step"]
    weights = all(
        torch.equal(first[part][key], second[part][key]) for part in ("network", "ema") for key in first[part]
    )
    moments, others = first["optimizer"]["state"], second["optimizer"]["state"]
    return weights and all(
        torch.equal(value, others[number][key]) for number, kept in moments.items() for key, value in kept.items()
    )


def test_killed_and_started_again_gives_the_same_weights(tmp_path: Path) -> None:
    draw_set(tmp_path / "toy", (72, 72), 5, 4, radius=12, rows=(20, 50), columns=(16, 30), box=(20, 36, 10))
    (tmp_path / "toy.yaml").write_text(RECIPE)
    whole = begin(tmp_path, "whole")
    try:
        for _ in range(3):
            kill_between_checkpoints(tmp_path, "parts")
            if read_checkpoint(tmp_path / "parts" / "last.pt")["step"] == SAVED:
                break
            # This machine did not let the test run in time, and the run has reached its next checkpoint.
            shutil.rmtree(tmp_path / "parts")
        assert read_checkpoint(tmp_path / "parts" / "last.pt")["step"] == SAVED < logged(tmp_path, "parts")
        finish(tmp_path, "parts", begin(tmp_path, "parts"))
    finally:
        finish(tmp_path, "whole", whole)
    assert f"resuming {tmp_path / 'parts'} at step {SAVED} of 10" in (tmp_path / "parts.txt").read_text()
    assert f"starting {tmp_path / 'whole'} at step 0 of 10" in (tmp_path / "whole.txt").read_text()
    for name in ("last.pt", "best.pt"):
        assert same(tmp_path / "whole" / name, tmp_path / "parts" / name)
