"""Results as JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from stand_ins import PERSON

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks import JsonLines
from edgeseg.types import ClassInfo, Frame, Instances, Result


def result(number: int, captured_ns: int = 0, pts_s: float | None = None, share: float = 0.25) -> Result:
    """A result of 100 x 40 with so much person in view."""
    labels = np.zeros((40, 100), np.uint8)
    labels[: round(40 * share)] = 1
    frame = Frame(np.zeros((40, 100, 3), np.uint8), number, captured_ns, pts_s, "demo")
    return Result(labels, None, None, frame, PERSON)


def test_one_flushed_line_a_result(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(path)
    sink.write(result(0, 123, 0.5))
    (line,) = path.read_text().splitlines()  # before close
    assert json.loads(line) == {
        "frame": 0,
        "source": "demo",
        "captured_ns": 123,
        "pts_s": 0.5,
        "age_ms": None,
        "classes": [{"id": 0, "name": "background", "share": 0.75}, {"id": 1, "name": "person", "share": 0.25}],
        "instances": [],
    }
    sink.write(result(3, share=0.0))
    sink.close()
    sink.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(row["frame"], row["pts_s"], row["classes"][1]["share"]) for row in rows]
    assert told == [(0, 0.5, 0.25), (3, None, 0.0)]
    with pytest.raises(OutputError, match="closed"):
        sink.write(result(4))


def test_a_live_source_has_an_age(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(path, live=True)
    captured_ns = time.monotonic_ns() - 40_000_000
    sink.write(result(0, captured_ns))
    sink.close()
    most_ms = (time.monotonic_ns() - captured_ns) / 1e6
    assert 40.0 <= json.loads(path.read_text())["age_ms"] <= most_ms + 0.001


def test_shares_of_many_classes_and_ignored_pixels(tmp_path: Path) -> None:
    classes = tuple(ClassInfo(k, f"c{k}", (0, 0, 0)) for k in range(255))
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    one = Result(labels, None, None, Frame(np.zeros((16, 16, 3), np.uint8), 0, 0), classes)
    sink = JsonLines(tmp_path / "out.jsonl")
    sink.write(one)
    sink.close()
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert [entry["share"] for entry in row["classes"]] == [round(1 / 256, 6)] * 255


def test_standard_output_stays_open(capsys: pytest.CaptureFixture[str]) -> None:
    sink = JsonLines("-")
    sink.write(result(5))
    sink.close()
    print("more")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["frame"] == 5
    assert second == "more"


WRITER = """
import numpy as np
from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import JsonLines
from edgeseg.types import ClassInfo, Frame, Result
image = np.zeros((8, 8, 3), np.uint8)
sink = JsonLines("-")
try:
    for number in range(20_000):
        sink.write(Result(image[..., 0], None, None, Frame(image, number, 0), (ClassInfo(0, "none", (0, 0, 0)),)))
except OutputError as error:
    raise SystemExit(error.exit_code)
"""


def test_a_reader_that_leaves_is_one_error(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (3, b"")


def test_a_full_disk_is_one_error() -> None:
    sink = JsonLines("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        sink.write(result(0))
    sink.close()


def test_a_pipe_takes_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonLines(pipe)
    sink.write(result(9))
    assert json.loads(os.read(reading, 10_000))["frame"] == 9
    sink.close()
    os.close(reading)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11
@pytest.mark.parametrize("shapes, key", [("rle", "rle"), ("polygon", "polygons")])
def test_areas_of_classes_as_coco_writes_them(tmp_path: Path, shapes: str, key: str) -> None:
    labels = np.zeros((40, 100), np.uint8)
    labels[5:30, 10:60] = 1
    labels[10:20, 20:30] = 0  # a hole
    labels[2:4, 90:100] = 1
    labels[35:, :] = 2
    classes = (*PERSON, ClassInfo(2, "road", (0, 0, 0)), ClassInfo(3, "sky", (0, 0, 0)))
    sink = JsonLines(tmp_path / "out.jsonl", shapes=shapes)
    sink.write(Result(labels, None, None, Frame(np.zeros((40, 100, 3), np.uint8), 0, 0), classes))
    sink.close()
    rows = json.loads((tmp_path / "out.jsonl").read_text())["classes"]
    # Neither the background nor what is not in view.
    assert [key in row for row in rows] == [False, True, True, False]
    for row in rows[1:3]:
        code = coco_masks.frPyObjects(row[key], 40, 100)
        mask = coco_masks.decode(coco_masks.merge(code) if key == "polygons" else code)
        np.testing.assert_array_equal(mask, labels == row["id"])


def test_shapes_of_instances(tmp_path: Path) -> None:
    boxes = np.array([[10, 10, 30, 30]], np.float32)
    found = Instances(boxes, np.ones(1, np.float32), np.ones(1, np.int32), np.ones((1, 28, 28), np.float32), (40, 100))
    one = Result(found.mask(0).astype(np.uint8), None, found, result(0).frame, PERSON)
    for shapes, key in ((None, "rle"), ("rle", "rle"), ("polygon", "polygons")):
        sink = JsonLines(tmp_path / "out.jsonl", shapes=shapes)
        sink.write(one)
        sink.close()
        row = json.loads((tmp_path / "out.jsonl").read_text())
        assert set(row["instances"][0]) == {"box", "score", "class", key}
        # A class's area would say again what its instances say.
        assert all(set(entry) == {"id", "name", "share"} for entry in row["classes"])
    (ring,) = row["instances"][0]["polygons"]
    assert {(ring[k], ring[k + 1]) for k in range(0, len(ring), 2)} == {(10, 10), (30, 10), (30, 30), (10, 30)}


def test_an_unknown_kind_of_shape() -> None:
    with pytest.raises(UsageError, match="Did you mean 'polygon'"):
        JsonLines("-", shapes="polygons")


@pytest.mark.parametrize("name", ["folder", "missing/out.jsonl", "file/out.jsonl", "/proc/out.jsonl"])
def test_an_output_that_cannot_be_written_fails_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match="cannot write the JSON lines"):
        JsonLines(tmp_path / name)
