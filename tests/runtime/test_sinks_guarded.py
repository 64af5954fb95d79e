"""Sinks that fail or are slow: the others get everything, and each loss is counted. More is in `output_faults`."""

from __future__ import annotations

import threading
import time

import pytest
from stand_ins import PERSON, Recorder, ToyBackend, ToySource

from edgeseg.cli.running import OnlyClasses, Signals, supervise
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sinks.guarded import PLACES, Guarded
from edgeseg.types import Result


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
    assert (sinks[1].written, sinks[1].dropped) == (3, 17) and "the sink broke" in str(sinks[1].report()["error"])
    assert capfd.readouterr().err == "warning: the video is cut off: the sink broke\n"
    sinks[1].close()  # says it once


def test_behind_a_choice_of_classes_the_others_are_closed_too() -> None:
    good, bad = Recorder(), Recorder(fails_to_close=True)
    pipeline = Pipeline(ToySource(5), Segmenter(ToyBackend()), [OnlyClasses([bad, good], PERSON, ["person"])])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the sink's end broke"):
        pipeline.join()
    assert good.closed == bad.closed == 1 and good.numbers == list(range(5))


def test_one_that_fails_at_its_end_lost_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    sink = Guarded(Recorder(fails_to_close=True), "video", False)
    with pytest.raises(RuntimeError, match="the sink's end broke"):
        run(ToySource(20), sink).join()
    assert (sink.written, sink.dropped) == (20, 0)
    assert capfd.readouterr().err == "warning: the video is cut off: the sink's end broke\n"


def test_a_slow_one_makes_a_file_wait() -> None:
    slow = Recorder(takes_s=0.01)
    sink = Guarded(slow, "video", False)
    run(ToySource(30), sink).join()
    assert slow.numbers == list(range(30))
    write = sink.report()["write"]
    assert write["samples"] == 30 and write["p50_ms"] > 9


def test_a_slow_one_loses_results_of_a_camera_and_the_camera_does_not_notice() -> None:
    good, slow = Recorder(), Recorder(takes_s=0.2)
    sinks = Guarded(good, "masks", True), Guarded(slow, "video", True)
    # As many as the model takes, so that only this sink loses some, also on a busy machine.
    pipeline = run(ToySource(60), *sinks)
    pipeline.join()
    assert pipeline.stats.counts()["frames_out"] == len(good.results) + sinks[0].dropped == 60
    assert sinks[1].written + sinks[1].dropped == 60 and sinks[1].dropped > 20
    assert slow.numbers == sorted(slow.numbers) and slow.numbers[-1] == 59, "the newest are kept"


def test_writing_and_closing_happen_on_one_thread_and_few_results_wait() -> None:
    recorder = Recorder(takes_s=0.05)
    sink = Guarded(recorder, "window", True)
    run(ToySource(30, fps=200, live=True), sink).join()
    assert recorder.threads == {"edgeseg-window"} and recorder.closed == 1
    assert len(recorder.results) <= 30 and PLACES == 4


class Pausing(Recorder):
    """A window that the user has paused: holds up a file until the run is to end."""

    def __init__(self) -> None:
        super().__init__()
        self.paused, self.ending = threading.Event(), threading.Event()

    def write(self, result: Result) -> None:
        super().write(result)
        self.paused.set()
        assert self.ending.wait(60)

    def end_pause(self) -> None:
        self.ending.set()


def test_a_signal_ends_a_run_whose_window_pauses() -> None:
    window, masks = Pausing(), Recorder()
    sinks = Guarded(window, "window", False), Guarded(masks, "masks", False)
    source, signals = ToySource(None), Signals()
    pipeline = Pipeline(source, Segmenter(ToyBackend()), sinks)

    def stop() -> None:
        window.paused.wait(60)
        signals.stopped.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    supervise(pipeline, sinks, signals)
    stopper.join()
    # Nothing is lost: what waited for the window is shown, and the others have the same.
    assert window.numbers == masks.numbers and len(window.numbers) == pipeline.stats.counts()["frames_out"] > 0
    assert window.closed == masks.closed == 1


def test_one_that_must_see_everything_is_cut_off_where_it_holds_up_a_camera(capfd: pytest.CaptureFixture[str]) -> None:
    hanging, good = Pausing(), Recorder()
    sinks = Guarded(hanging, "recording", False, hold_up_s=0.5), Guarded(good, "masks", True)
    pipeline = run(ToySource(60, fps=30, live=True), *sinks)
    assert "the recording holds up the camera: 0.5 s for a result" in capfd.readouterr().err
    came = pipeline.stats.counts()["frames_out"]
    assert (sinks[0].written, sinks[0].dropped) == (0, came) and good.numbers[-1] == 59, "the camera went on"
    assert hanging.closed == 0
    hanging.end_pause()
    ends = time.monotonic() + 60
    while not hanging.closed and time.monotonic() < ends:
        time.sleep(0.01)
    assert hanging.closed == 1 and len(hanging.results) == 1, "it is closed before the hole"
