"""Somebody's own folder of three classes, from pictures to a running int8 model, by README's five commands."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from own_set import draw_set

from edgeseg.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "network.args={blocks: [1, 1, 1, 1, 1], ratio: [1, 0.25, 0.25, 0.1, 0.1], stem: 8, decoder: [16, 16, 8]}",
    "size=[64, 96]",
    "phases=[{until: 1, sizes: [[64, 96]], batch: 4}]",
    "steps=120",
    "workers=0",
    "optimizer={lr: 0.006, encoder_lr: 0.006, warmup: 5}",
    "scenes={geometric: {plain: 1.0}}",
    "ema=0.9",
]


def draw(root: Path) -> None:
    """Nine pictures to learn from, three held out; a void frame around each."""
    draw_set(root, (72, 108), 12, 9, radius=13, rows=(20, 50), columns=(16, 40), box=(26, 50, 12), void=True)


def call(words: str, *more: str) -> int:
    return main([*words.split(), *more])


@pytest.mark.checkout
def test_five_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = ROOT / "recipes" / "own.yaml"
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "mine")
    assert call(f"train {recipe} --data mine --out runs/own", *SMALL) == 0
    assert call("export runs/own/last.pt -o own.onnx") == 0
    assert call("calibrate own.onnx --frames mine/images -o ranges.json") == 0
    assert call("quantize own.onnx --ranges ranges.json -o own.int8.onnx") == 0
    assert call("run mine/images --model own.int8.onnx --backend onnxruntime --masks masks --jsonl out.jsonl") == 0
    # A few steps from nothing: red and blue are told from the floor and from each other.
    first = cv2.imread(str(tmp_path / "masks" / "000000.png"), cv2.IMREAD_UNCHANGED)
    truth = cv2.imread(str(tmp_path / "mine" / "masks" / "00.png"), cv2.IMREAD_UNCHANGED)
    assert first.shape == truth.shape
    for value in (0, 1, 2):
        assert (first[truth == value] == value).mean() > 0.5
    assert "ball" in (tmp_path / "out.jsonl").read_text()
    capsys.readouterr()
    assert call("eval --model own.int8.onnx --backend onnxruntime --data mine --split val") == 0
    assert "IoU box" in capsys.readouterr().out


@pytest.mark.checkout
def test_without_names_the_error_says_where_to_write_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = ROOT / "recipes" / "own.yaml"
    draw(tmp_path / "mine")
    (tmp_path / "mine" / "classes.txt").unlink()
    assert call(f"train {recipe} --data {tmp_path / 'mine'} --out {tmp_path / 'run'}") == 2
    assert "no classes are named" in capsys.readouterr().err
    assert call(f"train {recipe} --data {tmp_path / 'nowhere'} --out {tmp_path / 'run'}") == 3
    assert "data folder not found" in capsys.readouterr().err
