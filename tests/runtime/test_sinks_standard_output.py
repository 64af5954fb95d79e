"""Raw frames in a pipe: the bytes, nothing but the bytes, and readers that leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks import StandardOutput, standard_output
from edgeseg.types import Frame, Result

WRITER = """
import ctypes, sys
import numpy as np
from edgeseg.runtime.sinks import StandardOutput
from edgeseg.types import ClassInfo, Frame, Result

classes = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60)))
sink = StandardOutput(12.5)
print("a stray line of Python's")
ctypes.CDLL(None).puts(b"a stray line of C's")
ctypes.CDLL(None).fflush(None)
for number in range(3):  # each is more than a pipe holds at once
    image = np.random.default_rng(number).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    labels = np.zeros((300, 400), np.uint8)
    labels[100:200, 50:150] = 1
    result = Result(labels, None, None, Frame(image, number, 0), classes)
    sink.write(result)
    np.save(f"{sys.argv[1]}/{number}.npy", result.overlay())
sink.close()
sink.close()
print("AFTER", end="")
"""


def test_the_bytes_are_the_overlays_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, timeout=120, check=True)
    pictures = [np.load(tmp_path / f"{number}.npy") for number in range(3)]
    assert done.stdout == b"".join(picture.tobytes() for picture in pictures) + b"AFTER"
    err = done.stderr.decode()
    assert "a stray line of Python's" in err
    assert "a stray line of C's" in err
    assert "standard output: -f rawvideo -pixel_format bgr24 -video_size 400x300 -framerate 12.5\n" in err


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The reading end of a pipe whose other end stands for standard output, as pytest holds the real one."""
    reading, writing = os.pipe()
    monkeypatch.setattr(standard_output, "DESCRIPTOR", writing)
    yield reading
    os.close(reading)
    os.close(writing)


def result(number: int, width: int, height: int) -> Result:
    """A result of one brightness, nothing labelled."""
    image = np.full((height, width, 3), 10 * number, np.uint8)
    return Result(np.zeros((height, width), np.uint8), None, None, Frame(image, number, 0), PERSON)


def test_another_size_is_resized_and_said_once(pipe: int, capfd: pytest.CaptureFixture[str]) -> None:
    sink = StandardOutput()
    for number, (width, height) in enumerate([(41, 30), (20, 20), (82, 60), (41, 30)]):
        sink.write(result(number, width, height))
    sink.close()
    read = os.read(pipe, 100_000)
    assert read == b"".join(bytes([10 * number]) * (41 * 30 * 3) for number in range(4))
    assert capfd.readouterr().err.count("warning: standard output: a frame of 20x20 among those of 41x30") == 1
    with pytest.raises(OutputError, match="closed"):
        sink.write(result(4, 41, 30))


def test_a_picture_of_the_caller_s_own(pipe: int) -> None:
    sink = StandardOutput(draw=lambda one: np.full_like(one.frame.image[:, ::2], 200))
    sink.write(result(0, 40, 30))
    sink.close()
    assert os.read(pipe, 100_000) == bytes([200]) * (20 * 30 * 3)


def test_a_reader_that_leaves_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(standard_output, "DESCRIPTOR", writing)
    sink = StandardOutput()
    sink.write(result(0, 40, 30))
    os.close(reading)
    with pytest.raises(OutputError, match="its reader has left"):
        sink.write(result(1, 40, 30))
    sink.close()
    os.close(writing)


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    monkeypatch.setattr(standard_output, "DESCRIPTOR", theirs)
    with pytest.raises(UsageError, match="do not go to a terminal"):
        StandardOutput()
    os.close(theirs)
    os.close(ours)
