"""Recordings: what comes out is what went in, bit for bit, drops included; damaged ones say what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stand_ins import Recorder as Kept
from stand_ins import ToyBackend, ToySource

from edgeseg.errors import InputError, OutputError
from edgeseg.runtime.mailbox import ENDED, REPLACED
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.recording import HEAD, LINES, Head, mask_digest, read_head
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sinks.base import write_aside
from edgeseg.runtime.sinks.recorder import Recorder
from edgeseg.runtime.sources import open_source
from edgeseg.runtime.sources.recorded import Recorded
from edgeseg.types import Frame

HEAD_OF_TOY = Head("toy", False, None, False, {}, "", {})


class Noise(ToySource):
    """Frames that no lossy codec would keep, of several and odd sizes, with stamps and sessions of their own."""

    sizes = ((48, 64), (48, 64), (33, 51), (1, 7), (1, 7), (48, 64))

    def __iter__(self) -> Iterator[Frame]:
        rng = np.random.default_rng(0)
        for k, (height, width) in enumerate(self.sizes):
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            pts_s = None if k == 3 else k * 0.1 + 0.01
            yield Frame(image, 2 * k, 1_000 + k, pts_s, self.name, f"{k}.png" if k else None, k // 4)


def record(folder: Path, source: ToySource, backend: ToyBackend | None = None) -> Kept:
    """Run a source into a recording; what came out of the pipeline."""
    kept, recorder = Kept(), Recorder(folder, HEAD_OF_TOY)
    pipeline = Pipeline(source, Segmenter(backend or ToyBackend()), [kept, recorder], on_drop=recorder.dropped)
    pipeline.start()
    pipeline.join()
    recorder.finish(pipeline.stats.counts())
    return kept


def test_frames_and_stamps_come_back_bit_for_bit(tmp_path: Path) -> None:
    kept = record(tmp_path / "tape", Noise())
    with open_source(f"replay:{tmp_path / 'tape'}") as source:
        assert isinstance(source, Recorded)
        frames = list(source)
        assert source.broken is None and source.dropped == 0 and not source.live
    assert len(frames) == len(kept.results) == 6
    for frame, result in zip(frames, kept.results, strict=True):
        before = result.frame
        assert np.array_equal(frame.image, before.image) and frame.image.flags["C_CONTIGUOUS"]
        for name in ("number", "captured_ns", "pts_s", "source", "name", "session"):
            assert getattr(frame, name) == getattr(before, name)
        assert source.masks[frame.number] == mask_digest(result)
    # A file for each run of frames of one size.
    assert len(list((tmp_path / "tape").glob("*.mkv"))) == 4


def test_drops_are_noted_and_come_back_as_counts(tmp_path: Path) -> None:
    # A camera that is far too quick: most of its frames are replaced by newer ones.
    kept = record(tmp_path / "tape", ToySource(60, fps=400.0, live=True), ToyBackend(takes_s=0.02))
    lines = [json.loads(line) for line in (tmp_path / "tape" / LINES).read_text().splitlines()]
    assert sorted(line["frame"] for line in lines) == list(range(60))
    taken = [line["frame"] for line in lines if line["decision"] == "taken"]
    assert taken == kept.numbers
    whys = {line["why"] for line in lines if line["decision"] == "dropped"}
    assert REPLACED in whys and whys <= {REPLACED, ENDED}
    counts = read_head(tmp_path / "tape").counts
    assert counts["frames_in"] == 60 and counts["dropped"] == 60 - len(taken)

    again = Kept()
    pipeline = Pipeline(Recorded(f"replay:{tmp_path / 'tape'}"), Segmenter(ToyBackend()), [again])
    pipeline.start()
    pipeline.join()
    replayed = pipeline.stats.counts()
    assert again.numbers == taken
    # Those dropped at the very end are only passed where the source is read to its end, as it is here.
    assert {name: replayed[name] for name in counts} == counts
    for before, after in zip(kept.results, again.results, strict=True):
        assert mask_digest(before) == mask_digest(after)


def test_a_digest_sees_values_and_shape() -> None:
    results = [Segmenter(ToyBackend())(np.full((8, 16, 3), value, np.uint8)) for value in (0, 0, 255)]
    results.append(Segmenter(ToyBackend())(np.zeros((16, 8, 3), np.uint8)))
    digests = [mask_digest(result) for result in results]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    record(tmp_path / "tape", ToySource(2))
    before = (tmp_path / "tape" / LINES).read_bytes()
    with pytest.raises(OutputError, match="holds a recording already"):
        Recorder(tmp_path / "tape", HEAD_OF_TOY)
    assert (tmp_path / "tape" / LINES).read_bytes() == before
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "no" / "folder"):
        with pytest.raises(OutputError):
            Recorder(place, HEAD_OF_TOY)


def test_what_a_killed_run_has_written_is_replayed(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from test_recording import HEAD_OF_TOY, Noise, Recorder, Segmenter, ToyBackend
recorder, segmenter = Recorder(sys.argv[1], HEAD_OF_TOY), Segmenter(ToyBackend())
class Steady(Noise):
    sizes = ((48, 64),) * 6
for frame in Steady():
    recorder.write(segmenter(frame))
print("written", flush=True)
time.sleep(600)
"""
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", code, str(tmp_path / "tape")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": folders}) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "written\n"
        run.kill()
    with (tmp_path / "tape" / LINES).open("a", encoding="utf-8") as lines:
        lines.write('{"frame": 99, "deci')
    with Recorded(f"replay:{tmp_path / 'tape'}") as source:
        frames = list(source)
    assert len(source.masks) == 6 and len(frames) >= 5  # the muxer holds the last one back
    assert (source.broken is None) == (len(frames) == 6)
    assert read_head(tmp_path / "tape").counts == {}


def test_damaged_recordings_say_what_is_wrong(tmp_path: Path) -> None:
    record(tmp_path / "tape", ToySource(2))
    head = (tmp_path / "tape" / HEAD).read_text()
    for content, told in (("{", "damaged"), (head.replace('"format_version": 1', '"format_version": 2'), "version 2")):
        (tmp_path / "tape" / HEAD).write_text(content)
        with pytest.raises(InputError, match=told):
            Recorded(f"replay:{tmp_path / 'tape'}")
    (tmp_path / "tape" / HEAD).write_text(head)
    (tmp_path / "tape" / LINES).write_text("no json\n")
    with pytest.raises(InputError, match="lines cannot be read"):
        Recorded(f"replay:{tmp_path / 'tape'}")
    for line in ('{"frame": 0}', '{"frame": 0, "decision": "taken"}', "[1]"):
        (tmp_path / "tape" / LINES).write_text(f"{line}\n")
        with pytest.raises(InputError, match="lines cannot be read"):
            Recorded(f"replay:{tmp_path / 'tape'}")
    (tmp_path / "tape" / LINES).write_text("")
    with pytest.raises(InputError, match="holds no frame"):
        Recorded(f"replay:{tmp_path / 'tape'}")
    with pytest.raises(InputError, match="holds no recording"):
        Recorded(f"replay:{tmp_path / 'none'}")


def test_noting_a_drop_keeps_no_picture(tmp_path: Path) -> None:
    import weakref

    recorder = Recorder(tmp_path / "tape", HEAD_OF_TOY)
    image = np.zeros((8, 8, 3), np.uint8)
    gone = weakref.ref(image)
    recorder.dropped(Frame(image, 0, time.monotonic_ns()), REPLACED)
    del image
    assert gone() is None
    recorder.close()
    assert '"dropped"' in (tmp_path / "tape" / LINES).read_text()


def test_one_that_is_cut_off_notes_no_more_and_says_so(tmp_path: Path) -> None:
    recorder, segmenter = Recorder(tmp_path / "tape", HEAD_OF_TOY), Segmenter(ToyBackend())
    recorder.write(segmenter(np.zeros((8, 8, 3), np.uint8)))
    for number in range(1, 1000):
        recorder.dropped(Frame(np.zeros((8, 8, 3), np.uint8), number, number), REPLACED)
        if number == 1:
            recorder.cut_off("the disk hangs")
    counts = dict.fromkeys(("frames_in", "frames_out", "dropped", "skipped", "failed"), 0)
    recorder.finish(counts)
    assert read_head(tmp_path / "tape").incomplete is None, "while it is open, its disk is left alone"
    recorder.close()
    recorder.finish(counts)
    head = read_head(tmp_path / "tape")
    assert (head.incomplete, head.counts) == ("the disk hangs", {})
    lines = [json.loads(line) for line in (tmp_path / "tape" / LINES).read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0], "what came after it is no part of the recording"


def test_recordings_of_before_they_could_say_that_are_read(tmp_path: Path) -> None:
    record(tmp_path / "tape", ToySource(2))
    body = json.loads((tmp_path / "tape" / HEAD).read_text())
    del body["incomplete"]
    (tmp_path / "tape" / HEAD).write_text(json.dumps(body))
    assert read_head(tmp_path / "tape").incomplete is None
    assert len(list(Recorded(f"replay:{tmp_path / 'tape'}"))) == 2


def test_what_cannot_be_written_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_aside(tmp_path / "taken", b"head")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
