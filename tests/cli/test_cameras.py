"""Cameras described in YAML: each with its options, and every mistake named with its file, line and key."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeseg.cli.cameras import Camera, expand
from edgeseg.cli.main import main

USUAL = SimpleNamespace(
    transport="tcp", open_timeout_s=3.0, stall_timeout_s=5.0, retry_s=1.0, max_frames=7, policy=None, smooth=None
)


def written(folder: Path, text: str) -> Path:
    path = folder / "cameras.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_keys_come_before_the_options_of_the_command_line(tmp_path: Path) -> None:
    text = """
cameras:
  - source: rtsp://me:secret@10.0.0.7/stream1
    name: door
    transport: udp
    open_timeout_s: 20
  - {source: 0, policy: all, smooth: 'exponential:0.5', name: 12}
  - source: /dev/video2
    max_frames: 3
"""
    path = written(tmp_path, text)
    door, first, other, word = expand([str(path), "demo"], USUAL)
    assert (door.source, door.name, door.transport) == ("rtsp://me:secret@10.0.0.7/stream1", "door", "udp")
    assert (door.open_timeout_s, door.stall_timeout_s, door.max_frames) == (20.0, 5.0, 7)
    assert (first.source, first.name, first.policy, first.smooth) == ("0", "12", "all", "exponential:0.5")
    assert (other.source, other.name, other.max_frames) == ("/dev/video2", None, 3)
    assert door.where == f"{path}, line 3" and other.where == f"{path}, line 8"
    assert word == Camera("demo", open_timeout_s=3.0, max_frames=7)


def test_they_run_beside_each_other_under_their_names(tmp_path: Path, tiny_model: Path) -> None:
    text = """
cameras:
  - source: synthetic:64x48
    name: left
  - source: synthetic:80x40@100
    name: right
    max_frames: 5
    policy: all
"""
    stats, lines = tmp_path / "stats.json", tmp_path / "out.jsonl"
    words = ["run", str(written(tmp_path, text)), "--model", str(tiny_model), "--backend", "onnxruntime"]
    assert main([*words, "--batch", "2", "--max-frames", "9", "--stats", str(stats), "--jsonl", str(lines)]) == 0
    streams = json.loads(stats.read_text())["streams"]
    assert [(own["source"], own["frames_out"]) for own in streams] == [("left", 9), ("right", 5)]
    for place, name, count in ((0, "left", 9), (1, "right", 5)):
        written_lines = (tmp_path / f"out-{place}.jsonl").read_text().splitlines()
        assert [json.loads(line)["source"] for line in written_lines] == [name] * count


BAD = {
    "no file": (None, 3, "cannot read the file of cameras: {file} (No such file or directory)"),
    "no YAML": ("cameras:\n  - source: [1\n", 3, "the file is no YAML: {file}, line 3"),
    "empty": ("", 2, "the file describes no camera: {file}. Write cameras:"),
    "empty list": ("cameras: []", 2, "the file describes no camera"),
    "list at the top": ("- source: 0", 2, "the file of cameras has no keys: {file}, line 1"),
    "other key": ("camera:\n- source: 0", 2, "{file}, line 1: unknown key: camera. Did you mean 'cameras'?"),
    "no list": ("cameras:\n  source: 0", 2, "{file}, line 1: cameras is no list"),
    "a word": ("cameras:\n- demo", 2, "{file}, line 2: a camera has keys: demo. Write - source:"),
    "misspelt": ("cameras:\n- source: 0\n  trasport: udp", 2, "{file}, line 3: unknown key: trasport. Did you mean 't"),
    "not a key of ours": ("cameras:\n- source: 0\n  where: here", 2, "{file}, line 3: unknown key: where."),
    "twice": ("cameras:\n- source: 0\n  source: 1", 2, "{file}, line 3: the key stands there twice: source."),
    "wrong word": ("cameras:\n- transport: upd", 2, "{file}, line 2: transport: unknown transport: upd. Did you mean"),
    "wrong kind": ("cameras:\n- source: 0\n  retry_s: soon", 2, "{file}, line 3: retry_s is no number: soon."),
    "too small": ("cameras:\n- source: 0\n  retry_s: 0", 2, "{file}, line 3: retry_s: retry_s is no time to wait: 0"),
    "no frames": ("cameras:\n- source: 0\n  max_frames: 0", 2, "{file}, line 3: max_frames: the number of frames is"),
    "bad policy": ("cameras:\n- source: 0\n  policy: old", 2, "{file}, line 3: policy: unknown policy: old."),
    "bad smoothing": ("cameras:\n- source: 0\n  smooth: much", 2, "{file}, line 3: smooth: unknown smoothing: much."),
    "a list": ("cameras:\n- source: [demo]", 2, "{file}, line 2: source is no str"),
    "an object": ("cameras:\n- source: !!python/none x", 2, "{file}, line 2: source is no plain value"),
    "no source": ("cameras:\n- source: 0\n- name: door", 2, "{file}, line 3: the camera has no source. Add source:"),
    "one name": (
        "cameras:\n- {source: 0, name: a}\n- {source: 1, name: a}",
        2,
        "two cameras in {file} have one name: a",
    ),
    "not there": ("cameras:\n- source: demo\n- source: no.mp4", 3, "{file}, line 3: there is no such file, folder or"),
}


@pytest.mark.parametrize("text, code, told", BAD.values(), ids=BAD.keys())
def test_a_mistake_is_named_with_its_place(
    text: str | None, code: int, told: str, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cameras.yaml" if text is None else written(tmp_path, text)
    assert main(["run", str(path), "--model", str(tiny_model)]) == code
    err = capfd.readouterr().err
    assert err.startswith(f"error: {told.format(file=path)}") and err.count("\n") == 1, err
