"""Label maps in shared memory: the documented bytes, readers that never see a torn map, and who owns a name."""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks import SharedMemory, shared_segment
from edgeseg.runtime.sinks.shared_layout import class_table
from edgeseg.types import ClassInfo, Frame, Result

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COUNTER = itertools.count()
FOLDER = Path("/dev/shm")


@pytest.fixture
def name() -> Iterator[str]:
    """A name that nobody uses; nothing stays under it."""
    own = f"edgeseg-test-{os.getpid()}-{next(COUNTER)}"
    yield own
    left = [path.name for path in FOLDER.iterdir() if own in path.name]
    for path in left:
        (FOLDER / path).unlink()
    assert left == [], "closed, and still there"


def result(number: int, labels: np.ndarray, classes: tuple[ClassInfo, ...] = PERSON) -> Result:
    return Result(labels, None, None, Frame(np.zeros((2, 2, 3), np.uint8), number, 1_000 + number), classes)


@functools.cache
def compiled_reader() -> str:
    """The C++ example, compiled without a warning."""
    program = Path(tempfile.mkdtemp(), "read_label_maps")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["g++", *flags, EXAMPLES / "read_label_maps.cpp", "-o", program], check=True)
    return str(program)


def start_reader(kind: str, name: str, out: Path) -> subprocess.Popen[str]:
    """One of the examples, attached, which writes into a file."""
    if kind == "C++" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    program = [compiled_reader()] if kind == "C++" else [sys.executable, str(EXAMPLES / "read_label_maps.py")]
    with out.open("w") as file:
        process = subprocess.Popen([*program, name], stdout=file, stderr=subprocess.STDOUT, text=True)
    while f"/dev/shm/{name}" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, out.read_text()
    return process


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a reader has written so many lines."""
    deadline = time.monotonic() + 60
    while path.read_text().count("\n") < count:
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.001)


def test_the_bytes_are_the_documented_ones(name: str) -> None:
    classes = (ClassInfo(0, "background", (1, 2, 3)), ClassInfo(7, "Fußgänger", (4, 5, 6)))
    maps = [np.random.default_rng(number).integers(0, 8, (5, 7)).astype(np.uint8) for number in range(40)]
    sink = SharedMemory(f"/{name}")
    for number, labels in enumerate(maps):
        sink.write(result(10 + number, labels, classes))
    path = FOLDER / name
    data = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    magic, version, state, written, slots, stride, first, count, table, pid = struct.unpack_from("8s9Q", data)
    assert (magic, version, state, written, count, pid) == (b"edgeseg\0", 1, 1, 40, 2, os.getpid())
    assert slots == 32 and stride % 4096 == 0 and len(data) == first + slots * stride
    assert data[table : table + 15] == b"\0\1\2\3background\0" and data[table + 64 : table + 68] == b"\7\4\5\6"
    assert data[table + 68 : table + 128].rstrip(b"\0").decode() == "Fußgänger"
    for place in range(8, 40):
        slot = first + place % slots * stride
        assert struct.unpack_from("5Q", data, slot) == (2 * place + 2, 10 + place, 1_010 + place, 5, 7)
        assert data[slot + 64 : slot + 64 + 35] == maps[place].tobytes()
    sink.close()
    sink.close()
    assert not path.exists()


def test_names_of_classes_are_cut_between_characters() -> None:
    row = class_table([ClassInfo(1, "ä" * 40, (0, 0, 0))])
    assert len(row) == 64 and row[4:].rstrip(b"\0").decode() == "ä" * 29


@pytest.mark.checkout
@pytest.mark.parametrize("kind", ["Python", "C++"])
def test_a_reader_gets_every_map_also_when_they_grow(kind: str, name: str, tmp_path: Path) -> None:
    sink, out = SharedMemory(name), tmp_path / "out"
    with start_reader(kind, name, out) as reader:
        for number, (height, width) in enumerate([(6, 8), (3, 4), (60, 80), (2, 2)]):
            labels = np.zeros((height, width), np.uint8)
            labels[: height // 2] = 1
            sink.write(result(number, labels))
            wait_for_lines(out, number + 1)
        sink.close()
        assert reader.wait(60) == 0
    rows = [line.split() for line in out.read_text().splitlines()]
    sizes = ["8x6", "4x3", "80x60", "2x2"]
    assert [row[:3] for row in rows] == [[f"{k}", f"{1_000 + k}", size] for k, size in enumerate(sizes)]
    half, third = ["background:0.5000", "person:0.5000"], ["background:0.6667", "person:0.3333"]
    assert [row[4:] for row in rows] == [half, third, half, half]


@pytest.mark.checkout
@pytest.mark.parametrize("kind", ["Python", "C++"])
def test_no_map_is_torn(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a single slot the writer is always in the reader's way. Each map is uniform, by its frame's number."""
    monkeypatch.setattr(shared_segment, "SLOTS_AT_LEAST", 1)
    monkeypatch.setattr(shared_segment, "SLOTS_AT_MOST", 1)
    sink, out = SharedMemory(name), tmp_path / "out"
    maps = [np.full((200, 300), value, np.uint8) for value in (0, 1)]
    sent = itertools.count()
    with start_reader(kind, name, out) as reader:
        while out.read_bytes().count(b"\n") < 200 and (last := next(sent)) < 500_000:
            sink.write(result(last, maps[last % 2]))
        sink.close()
        assert reader.wait(60) == 0
    lines = out.read_text().splitlines()
    numbers = [int(line.split()[0]) for line in lines]
    assert len(lines) >= 200 and numbers == sorted(set(numbers)) and numbers[-1] == last
    for line, number in zip(lines, numbers, strict=True):
        assert line.endswith("background:0.0000 person:1.0000" if number % 2 else "background:1.0000 person:0.0000")


DIES = """
import os, sys
import numpy as np
from edgeseg.runtime.sinks import SharedMemory
from edgeseg.types import ClassInfo, Frame, Result
sink = SharedMemory(sys.argv[1])
image = np.zeros((8, 8, 3), np.uint8)
sink.write(Result(image[..., 0], None, None, Frame(image, 5, 0), (ClassInfo(0, "none", (0, 0, 0)),)))
print("written", flush=True)
sys.stdin.read()
"""


def test_what_a_dead_process_left_is_taken_over(name: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", DIES, name], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        with (FOLDER / name).open("rb") as file:
            left = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with pytest.raises(OutputError, match="written to by another process"):
            SharedMemory(name)
        process.send_signal(signal.SIGKILL)
    state = slice(16, 24)
    assert left[state] == (1).to_bytes(8, sys.byteorder), "nobody could say that it ended"
    sink = SharedMemory(name)
    assert left[state] == (2).to_bytes(8, sys.byteorder), "its readers are sent on"
    sink.write(result(0, np.zeros((3, 3), np.uint8)))
    assert struct.unpack_from("4Q", (FOLDER / name).read_bytes())[2:] == (1, 1)
    sink.close()


def test_a_name_has_one_owner(name: str) -> None:
    first = SharedMemory(name)
    with pytest.raises(OutputError, match="written to by another process") as caught:
        SharedMemory(name)
    assert caught.value.exit_code == 3
    first.write(result(0, np.zeros((3, 3), np.uint8)))
    first.close()
    SharedMemory(name).close()


def test_a_file_of_another_program_is_left_alone(name: str) -> None:
    path = FOLDER / name
    path.write_bytes(b"something else")
    with pytest.raises(OutputError, match="another program"):
        SharedMemory(name)
    assert path.read_bytes() == b"something else"
    path.unlink()


def test_someone_elses_new_segment_outlives_our_close(name: str) -> None:
    first = SharedMemory(name)
    (FOLDER / name).unlink()  # by hand
    second = SharedMemory(name)
    first.close()
    assert (FOLDER / name).exists()
    second.close()


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a.b", "ä", "a b", "x" * 201])
def test_bad_names(bad: str) -> None:
    with pytest.raises(UsageError, match="bad name for shared memory"):
        SharedMemory(bad)


FULL = """
import resource, signal, sys
import numpy as np
from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import SharedMemory
from edgeseg.types import ClassInfo, Frame, Result
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
image = np.zeros((720, 1280, 3), np.uint8)
sink = SharedMemory(sys.argv[1])
try:
    sink.write(Result(image[..., 0], None, None, Frame(image, 0, 0), (ClassInfo(0, "none", (0, 0, 0)),)))
except OutputError as error:
    print(error)
sink.close()
"""


def test_too_little_memory_is_one_error(name: str) -> None:
    """Memory is taken before it is used: a write into a map without memory behind it would end the process."""
    done = subprocess.run([sys.executable, "-c", FULL, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cannot write the shared memory: ")
