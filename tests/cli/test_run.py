"""`edgeseg run` as users call it: real videos, folders and models in, real files out, one clear line for bad input."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeseg.cli.main import main
from edgeseg.cli.running import local_names

WIDTH, HEIGHT = 64, 48
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """20 frames at 10 fps, 64x48: black, with a white left half from frame 10 on."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(20):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            if number >= 10:
                image[:, : WIDTH // 2] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def run(*words: object) -> int:
    """`edgeseg run` in this process, on ONNX Runtime."""
    return main(["run", *map(str, words), "--backend", "onnxruntime"])


@pytest.fixture
def start() -> Iterator[Start]:
    """`edgeseg run` in a process of its own, ended with the test."""
    with contextlib.ExitStack() as stack:

        def begin(*words: object, text: bool = True) -> subprocess.Popen:
            command = [sys.executable, "-m", "edgeseg", "run", *map(str, words), "--backend", "onnxruntime"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


@pytest.fixture
def start_bytes(start: Start) -> Start:
    """As `start`, for what writes bytes and not text."""
    return partial(start, text=False)


def frames_of(video: Path) -> list[np.ndarray]:
    """Every frame of a video as BGR."""
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_all_outputs_of_a_video(
    clip: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, masks, lines, stats = (tmp_path / name for name in ("out.mp4", "masks", "out.jsonl", "stats.json"))
    code = run(clip, "--model", tiny_model, "--save", video, "--masks", masks, "--jsonl", lines, "--stats", stats)
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")

    assert len(frames_of(video)) == 20
    files = sorted(masks.iterdir())
    assert [path.name for path in files] == [f"{number:06d}.png" for number in range(20)]
    first, last = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (files[0], files[-1]))
    assert first is not None
    assert last is not None
    assert first.shape == last.shape == (HEIGHT, WIDTH)
    assert not first.any()
    assert last[:, : WIDTH // 2 - 4].all()
    assert not last[:, WIDTH // 2 + 4 :].any()

    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(20))

    figures = json.loads(stats.read_text())
    assert figures["frames_in"] == figures["frames_out"] == 20
    assert figures["dropped"] == figures["skipped"] == figures["failed"] == 0
    assert figures["inference"]["samples"] == 20
    assert figures["frame_age"] is None
    assert figures["backend"] == "onnxruntime"
    assert figures["machine"]["cores"] >= 1

    assert "onnxruntime" in out
    assert "20 in, 20 out" in out
    assert str(video) in out


def test_frames_in_a_pipe_beside_other_outputs(
    clip: Path, start_bytes: Start, tiny_model: Path, tmp_path: Path
) -> None:
    masks, lines = tmp_path / "masks.mkv", tmp_path / "out.jsonl"
    shapes = ("--jsonl", lines, "--jsonl-shapes", "polygon")
    words = ("--save", "-", "--background", "#204060", "--masks", masks, *shapes)
    process = start_bytes(clip, "--model", tiny_model, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert b"-video_size 64x48 -framerate 10" in err and b"20 in, 20 out" in err

    # The bytes as any reader of raw frames takes them, and the same run's masks and lines.
    frames = np.frombuffer(out, np.uint8).reshape(20, HEIGHT, WIDTH, 3)
    assert (frames[:10] == (0x60, 0x40, 0x20)).all()
    half = WIDTH // 2
    assert frames[10:, :, : half - 6].min() > 230 and (frames[10:, :, half + 6 :] == (0x60, 0x40, 0x20)).all()
    with av.open(str(masks)) as container:
        read = [(frame.time, frame.to_ndarray()) for frame in container.decode(video=0)]
    assert [time for time, _ in read] == pytest.approx([number / 10 for number in range(20)], abs=1e-3)
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    for (_, labels), row in zip(read, rows, strict=True):
        person = row["classes"][1]
        assert person["share"] == pytest.approx(labels.mean(), abs=1e-6)
        assert ("polygons" in person) == bool(labels.any())


def test_stats_on_standard_output_stand_alone(clip: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clip, "--model", tiny_model, "--stats", "-", "--max-frames", 5) == 0
    assert json.loads(capsys.readouterr().out)["frames_out"] == 5


def test_a_live_source_says_how_old_frames_are(tiny_model: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    code = run("synthetic:64x48@100", "--model", tiny_model, "--max-frames", 30, "--stats", stats)
    figures = json.loads(stats.read_text())
    assert code == 0
    assert figures["frames_in"] == 30 == figures["frames_out"] + figures["dropped"]
    assert figures["frame_age"]["samples"] == figures["frames_out"]


def test_policy_all_makes_a_live_source_wait(tiny_model: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    code = run("synthetic:64x48@200", "--model", tiny_model, "--max-frames", 40, "--policy", "all", "--stats", stats)
    figures = json.loads(stats.read_text())
    assert code == 0
    assert figures["frames_in"] == figures["frames_out"] == 40


def test_classes_keep_only_what_is_named(
    clip: Path, make_tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    model = make_tiny_model(tmp_path / "tiny.onnx")
    assert run(clip, "--model", model, "--masks", masks, "--classes", "background") == 0
    assert not any(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).any() for path in masks.iterdir())  # type: ignore[union-attr]
    capsys.readouterr()
    assert run(clip, "--model", model, "--masks", masks, "--classes", "preson") == 2
    assert "Did you mean 'person'?" in capsys.readouterr().err


def test_threshold(clip: Path, tiny_model: Path, tmp_path: Path) -> None:
    gray = tmp_path / "gray.png"
    cv2.imwrite(str(gray), np.full((HEIGHT, WIDTH, 3), 100, np.uint8))
    for threshold, label in ((0.3, 1), (0.5, 0)):
        masks = tmp_path / f"masks-{threshold}"
        assert run(gray.parent / "*.png", "--model", tiny_model, "--masks", masks, "--threshold", threshold) == 0
        assert (cv2.imread(str(masks / "000000.png"), cv2.IMREAD_UNCHANGED) == label).all()


BAD_INPUT: dict[str, tuple[Callable[[Path, Path], list[object]], int, str]] = {
    "missing file": (lambda d, m: [d / "missing.mp4", "--model", m], 3, "missing.mp4"),
    "text named mp4": (lambda d, m: [_text(d / "text.mp4"), "--model", m], 3, "text.mp4"),
    "empty folder": (lambda d, m: [_folder(d / "empty"), "--model", m], 3, "empty"),
    "pattern without files": (lambda d, m: [d / "*.jpg", "--model", m], 3, "*.jpg"),
    "no camera": (lambda d, m: ["97", "--model", m], 3, "97"),
    "later source": (lambda d, m: ["ftp://host/clip.mp4", "--model", m], 2, "not in this version"),
    "corrupt model": (lambda d, m: ["synthetic:8x8", "--model", _cut(d / "cut.onnx", m)], 4, "cut.onnx"),
    "model without manifest": (lambda d, m: ["synthetic:8x8", "--model", _bare(d / "bare.onnx", m)], 4, "manifest"),
    "missing model file": (lambda d, m: ["synthetic:8x8", "--model", d / "no.onnx"], 3, "no.onnx"),
    "unknown model": (lambda d, m: ["synthetic:8x8", "--model", "persom"], 2, "persom"),
    "unknown backend": (lambda d, m: ["synthetic:8x8", "--model", m, "--backend", "onnxrt"], 2, "'onnxruntime'"),
    "backend that is not here": (lambda d, m: ["synthetic:8x8", "--model", m, "--backend", "tensorrt"], 4, "tensorrt"),
    "unknown device": (lambda d, m: ["synthetic:8x8", "--model", m, "--device", "NPU9"], 4, "NPU9"),
    "save into no folder": (lambda d, m: ["synthetic:8x8", "--model", m, "--save", d / "no/out.mp4"], 3, "no"),
    "save onto a folder": (lambda d, m: ["synthetic:8x8", "--model", m, "--save", _folder(d / "f.mp4")], 3, "f.mp4"),
    "masks as mp4": (lambda d, m: ["synthetic:8x8", "--model", m, "--masks", d / "m.mp4"], 2, "m.mp4"),
    "no virtual camera": (lambda d, m: ["synthetic:8x8", "--model", m, "--virtual-camera", d / "video9"], 3, "video9"),
    "no strength": (lambda d, m: ["0", "--model", m, "--save", d / "o.mp4", "--background", "blur:2"], 2, "blur:2"),
    "no picture": (lambda d, m: ["0", "--model", m, "--save", d / "o.mp4", "--background", d / "b.jpg"], 3, "b.jpg"),
    "background unseen": (lambda d, m: ["0", "--model", m, "--background", "blur"], 2, "Add --save"),
    "shapes without lines": (lambda d, m: ["0", "--model", m, "--jsonl-shapes", "rle"], 2, "Add --jsonl"),
    "two in a pipe": (lambda d, m: ["0", "--model", m, "--save", "-", "--jsonl", "-"], 2, "--jsonl - --save -"),
    "masks onto a file": (lambda d, m: ["synthetic:8x8", "--model", m, "--masks", _text(d / "file")], 3, "file"),
    "jsonl into no folder": (lambda d, m: ["synthetic:8x8", "--model", m, "--jsonl", d / "no/out.jsonl"], 3, "no"),
    "shared memory in a folder": (lambda d, m: ["synthetic:8x8", "--model", m, "--shm", "a/b"], 2, "a/b"),
    "no name of a topic": (lambda d, m: ["synthetic:8x8", "--model", m, "--ros", "a-b"], 2, "a-b"),
    "stats into no folder": (lambda d, m: ["synthetic:8x8", "--model", m, "--stats", d / "no/s.json"], 3, "no"),
}


@pytest.mark.parametrize("words, code, told", BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_its_exit_code(
    words: Callable[[Path, Path], list[object]],
    code: int,
    told: str,
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given = words(tmp_path, tiny_model)
    backend = [] if "--backend" in given else ["--backend", "onnxruntime"]
    assert main(["run", *map(str, given), "--max-frames", "3", *backend]) == code
    # capfd: what a native library prints on its own counts, too.
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err


def test_a_backend_that_is_not_installed_names_its_extra(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgeseg.runtime import backends

    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert main(["run", "synthetic:8x8", "--model", str(tiny_model), "--backend", "openvino"]) == 4
    assert "edgeseg[openvino]" in capsys.readouterr().err


def test_a_truncated_video_is_segmented_as_far_as_it_goes(
    clip: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Matroska keeps its index in the stream, so the front of a file that was cut off can be read.
    whole, cut, out = tmp_path / "whole.mkv", tmp_path / "cut.mkv", tmp_path / "out.mp4"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(60):
            image = noise.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert run(cut, "--model", tiny_model, "--save", out) == 0
    err = capfd.readouterr().err
    assert err.startswith("warning: ")
    assert "cut.mkv" in err
    assert err.count("\n") == 1
    assert 10 < len(frames_of(out)) < 60


def test_a_second_signal_aborts_when_an_output_hangs(start: Start, tiny_model: Path, tmp_path: Path) -> None:
    # Nobody reads the lines: once the pipe is full, writing blocks for ever.
    pipe = tmp_path / "lines"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        process = start("synthetic:16x16", "--model", tiny_model, "--jsonl", pipe)
        looks = [-1]
        # Three times the same, since a machine that pauses looks like a full pipe once.
        while looks[-1] < 30_000 or len(set(looks[-3:])) > 1:
            assert process.poll() is None, process.communicate()
            time.sleep(0.3)
            looks.append(int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4), sys.byteorder))
        process.send_signal(signal.SIGINT)
        # The first one leaves the output its time to end; that it ends the run is among tests/runtime/output_faults.py.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        os.close(reader)
    assert process.returncode == 130
    assert err == "error: aborted by a second signal. Outputs may be incomplete.\n"


def test_a_second_signal_aborts_when_the_main_thread_hangs_in_foreign_code() -> None:
    code = """
import ctypes
from edgeseg.cli.running import Signals
mutex = ctypes.create_string_buffer(64)
with Signals():
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    print("locked", flush=True)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)  # waits for ever, and Python runs no handlers meanwhile
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert err.startswith("error: aborted")


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed (make system-packages)")
@pytest.mark.skipif("QT" not in cv2.getBuildInformation(), reason="this OpenCV is built without windows")
def test_a_clip_in_a_window(clip: Path, start: Start, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In a process of its own, as the order in which it loads FFmpeg's and Qt's libraries decides whether this hangs.
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as display:
        try:
            assert display.stdout is not None
            monkeypatch.setenv("DISPLAY", f":{display.stdout.readline().strip()}")
            monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
            process = start(clip, "--model", tiny_model, "--show")
            out, err = process.communicate(timeout=120)
        finally:
            display.terminate()
    assert (process.returncode, err) == (0, "")
    assert "20 in, 20 out" in out


def test_several_sources_have_shared_memory_and_topics_of_their_own() -> None:
    args = argparse.Namespace(shm="maps", ros="robot/eyes", ros_frame_id="eye")
    assert local_names(args, 0, False) == {"shm": "maps", "ros": "robot/eyes", "frame_id": "eye"}
    assert local_names(args, 1, True) == {"shm": "maps-1", "ros": "robot/eyes_1", "frame_id": "eye_1"}
    args.shm = args.ros = None
    assert local_names(args, 1, True) == {"shm": None, "ros": None, "frame_id": "eye_1"}


def _text(path: Path) -> Path:
    path.write_text("no picture in here\n" * 50)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _cut(path: Path, model: Path) -> Path:
    path.write_bytes(model.read_bytes()[:400])
    return path


def _bare(path: Path, model: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(model)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    return path


def test_several_sources_each_with_outputs_of_its_own(
    clip: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, masks, lines, stats = (tmp_path / name for name in ("out.mp4", "masks", "out.jsonl", "stats.json"))
    words = ("--model", tiny_model, "--save", video, "--masks", masks, "--jsonl", lines, "--stats", stats)
    assert run(clip, "synthetic:80x40", *words, "--max-frames", 12) == 0
    assert [frame.shape for frame in frames_of(tmp_path / "out-0.mp4")] == [(HEIGHT, WIDTH, 3)] * 12
    assert [frame.shape for frame in frames_of(tmp_path / "out-1.mp4")] == [(40, 80, 3)] * 12
    assert len(list((tmp_path / "masks-1").iterdir())) == 12
    read = [json.loads(line) for line in (tmp_path / "out-1.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in read] == list(range(12)) and {line["source"] for line in read} == {
        "synthetic:80x40"
    }
    report = json.loads(stats.read_text())
    assert [own["source"] for own in report["streams"]] == [str(clip), "synthetic:80x40"]
    assert [own["frames_out"] for own in report["streams"]] == [12, 12] and report["frames_out"] == 24
    out = capsys.readouterr().out
    assert "frames: 24 in, 24 out" in out and f"wrote {tmp_path / 'out-1.mp4'}" in out
    assert not video.exists() and not masks.exists()


def test_what_several_sources_cannot_share(clip: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["--show"], "a window shows one source"),
        (["--virtual-camera", "/dev/video9"], "a camera shows one source"),
        (["--jsonl", "-"], "cannot share standard output: --jsonl -"),
        (["--save", "-"], "cannot share standard output: --save -"),
        (["--masks", "."], "--masks has no name: ."),
    ):
        assert run(clip, clip, "--model", tiny_model, *words) == 2
        assert told in capsys.readouterr().err
