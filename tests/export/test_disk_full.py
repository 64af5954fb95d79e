"""A disk that is full while a command writes its file: exit code 3, one line, and nothing half-written stays.

The kernel refuses to let any file grow beyond a few bytes, which a program meets where it would meet a full disk.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from export_helpers import Exported

from edgeseg.calib.ranges import Ranges
from edgeseg.cli.main import main

ROOM = 1500
OLD = b"what was there before"


@contextmanager
def no_room() -> Iterator[None]:
    """Files of this process and of those that it starts may not grow beyond `ROOM` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def words(person: Exported, ranges: Ranges, int8: Path, tmp_path: Path) -> dict[str, list[str]]:
    """Each command that writes, without the target."""
    import cv2
    import numpy as np

    frames = tmp_path / "frames"
    frames.mkdir()
    cv2.imwrite(str(frames / "one.png"), np.random.default_rng(0).integers(0, 256, (72, 100, 3)).astype(np.uint8))
    ranges.save(tmp_path / "ranges.json")
    model = str(person.path)
    return {
        "calibrate": ["calibrate", model, "--frames", str(frames), "-o"],
        "quantize": ["quantize", model, "--ranges", str(tmp_path / "ranges.json"), "-o"],
        "export": ["export", model, "--inline", "-o"],
        "export --json": ["export", model, "--triton", str(tmp_path / "spare"), "--json"],
        "verify --json": ["verify", model, str(int8), "--frames", str(frames), "--min-agreement", "0", "--json"],
        "build": ["build", model, "--backend", "tensorrt-rtx", "-o"],
    }


@pytest.mark.parametrize("command", ["calibrate", "quantize", "export", "export --json", "verify --json", "build"])
def test_what_was_there_stays(
    command: str, words: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "build" and find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx is not installed")
    folder = tmp_path / "full"
    folder.mkdir()
    target = folder / ("target.engine" if command == "build" else "target")
    target.write_bytes(OLD)
    with no_room():
        code = main([*words[command], str(target)])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 3 and last.startswith("error: cannot write") and "File too large" in last, last
    assert list(folder.iterdir()) == [target] and target.read_bytes() == OLD


@pytest.mark.parametrize("with_deepstream", [False, True])
def test_a_repository_stays_as_it_was(
    with_deepstream: bool, person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served, streamed = tmp_path / "models", tmp_path / "deepstream"
    words = ["export", str(person.path), "--triton", str(served), "--name", "one"]
    if with_deepstream:
        words += ["--deepstream", str(streamed)]
        assert main(words) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    with no_room():
        code = main(words)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 3 and last.startswith("error: cannot write") and "File too large" in last, last
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
