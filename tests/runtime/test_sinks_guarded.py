"""Sinks that raise, block or are slow: the camera goes on, the others get everything, and each loss is counted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stand_ins import Recorder, ToyBackend, ToySource

from edgeseg.errors import OutputError
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sinks import guarded
from edgeseg.runtime.sinks.guarded import PLACES, Guarded
from edgeseg.runtime.sources import open_source


def run(source: ToySource, *sinks: Guarded) -> Pipeline:
    pipeline = Pipeline(source, Segmenter(ToyBackend()), sinks)
    pipeline.start()
    assert pipeline.wait(20)
    return pipeline


def test_one_that_fails_is_cut_off_and_the_others_get_everything(capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = Recorder(), Recorder(fails_at=3)
    sinks = Guarded(good, "masks", False), Guarded(bad, "video", False)
    pipeline = run(ToySource(20), *sinks)
    with pytest.raises(RuntimeError, match="the sink broke"):
        pipeline.join()
    assert good.numbers == list(range(20)) and bad.numbers == [0, 1, 2] and bad.closed == 1
    assert pipeline.stats.counts()["frames_out"] == 20
    report = sinks[0].report()
    assert (report["output"], report["written"], report["dropped"], report["error"]) == ("masks", 20, 0, None)
    assert sinks[1].written == 3 and sinks[1].dropped >= 1 and "the sink broke" in str(sinks[1].report()["error"])
    assert capfd.readouterr().err == "warning: the video is cut off: the sink broke\n"
    sinks[1].close()  # says it once


def test_a_slow_one_makes_a_file_wait() -> None:
    slow = Recorder(takes_s=0.01)
    sink = Guarded(slow, "video", False)
    run(ToySource(30), sink).join()
    assert slow.numbers == list(range(30))
    write = sink.report()["write"]
    assert write["samples"] == 30 and 9 < write["p50_ms"] < 30


def test_a_slow_one_loses_results_of_a_camera_and_the_camera_does_not_notice() -> None:
    good, slow = Recorder(), Recorder(takes_s=0.2)
    sinks = Guarded(good, "masks", True), Guarded(slow, "video", True)
    source = ToySource(60, fps=60, live=True)
    pipeline = run(source, *sinks)
    pipeline.join()
    report = pipeline.stats.to_dict()
    assert report["frames_in"] == 60 and report["frames_out"] > 40
    assert len(good.results) == report["frames_out"] == sinks[0].written
    assert sinks[1].written + sinks[1].dropped == report["frames_out"] and sinks[1].dropped > 20
    assert slow.numbers == sorted(slow.numbers) and slow.numbers[-1] == good.numbers[-1], "the newest are kept"


def test_one_that_blocks_for_ever_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "CLOSING_S", 0.3)
    wake, good = threading.Event(), Recorder()

    class Blocked(Recorder):
        def write(self, result: object) -> None:
            wake.wait(30)

    pipeline = run(ToySource(40, fps=100, live=True), Guarded(good, "masks", True), Guarded(Blocked(), "video", True))
    with pytest.raises(OutputError, match="the video does not come to an end"):
        pipeline.join()
    assert len(good.results) == pipeline.stats.counts()["frames_out"] > 10
    wake.set()
    ends = time.monotonic() + 5
    while any(thread.name == "edgeseg-video" for thread in threading.enumerate()) and time.monotonic() < ends:
        time.sleep(0.01)


def test_writing_and_closing_happen_on_one_thread_and_few_results_wait() -> None:
    recorder = Recorder(takes_s=0.05)
    sink = Guarded(recorder, "window", True)
    run(ToySource(30, fps=200, live=True), sink).join()
    assert recorder.threads == {"edgeseg-window"} and recorder.closed == 1
    assert len(recorder.results) <= 30 and PLACES == 4


FULL = """
import resource, sys
from edgeseg.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_ends_the_recording_with_an_error_and_a_file_that_plays(tiny_model: Path, tmp_path: Path) -> None:
    """The kernel refuses to let the video grow, as it does on a full disk; small lines of JSON still go."""
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    stats = tmp_path / "stats.json"
    words = [
        "run",
        "demo",
        "--stats",
        str(stats),
        "--model",
        str(tiny_model),
        "--backend",
        "onnxruntime",
        "--max-frames",
        "120",
    ]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words, "--save", str(video), "--jsonl", str(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 3, done.stderr
    assert "the video is cut off: cannot write the video" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot write the video")
    with open_source(str(video)) as written:
        assert len(list(written)) > 5
    # Lines go on until they reach the limit themselves.
    outputs = {own["output"]: own for own in json.loads(stats.read_text())["outputs"]}
    assert outputs["video"]["error"] and outputs["video"]["dropped"] > 0
    assert outputs["file of JSON lines"]["written"] == len(lines.read_text().splitlines()) == 120
