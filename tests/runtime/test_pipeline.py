"""The pipeline: nothing is lost, nothing is old, nothing hangs; and no frame goes uncounted, whatever breaks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stand_ins import Recorder, Stuck, ToyBackend, ToySource, person_manifest

import edgeseg
from edgeseg.errors import UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.temporal import Smoother
from edgeseg.types import ClassInfo, Frame

PATIENCE_S = 60.0


def finish(pipeline: Pipeline) -> dict:
    """Wait for the end, check the sum of all frames, and give the report."""
    assert pipeline.wait(PATIENCE_S), "the pipeline hangs"
    report = pipeline.stats.to_dict()
    assert report["frames_in"] == report["frames_out"] + report["dropped"] + report["skipped"] + report["failed"]
    return report


def counts(report: dict) -> tuple[int, int, int, int]:
    assert report["skipped"] == 0
    return report["frames_in"], report["frames_out"], report["dropped"], report["failed"]


def wait_until(condition, what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, what
        time.sleep(0.002)


def interrupt_soon() -> None:
    """What Ctrl-C does, in a tenth of a second: a signal to the process, which the main thread gets."""
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every test ends with as many threads as it began with."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: {t for t in threading.enumerate() if t.name.startswith("edgeseg")} <= before, "a thread stayed")


# What comes out


def test_a_file_comes_out_whole_and_in_order() -> None:
    sinks = [Recorder(), Recorder()]
    pipeline = Pipeline(ToySource(40), Segmenter(ToyBackend(takes_s=0.001)), sinks)
    pipeline.start()
    pipeline.join()
    report = finish(pipeline)
    assert counts(report) == (40, 40, 0, 0)
    for sink in sinks:
        assert sink.numbers == list(range(40))
        assert [int(result.probability[0, 0]) for result in sink.results] == list(range(40))
        assert (sink.closed, sink.threads) == (1, {"edgeseg-output"})
    assert report["age_taken"] is None and report["frame_age"] is None
    for span in ("capture", "preprocess", "inference", "postprocess", "sinks"):
        assert report[span]["samples"] == 40
    assert report["inference"]["p50_ms"] >= 1.0
    assert report["throughput_fps"] > 0


def test_an_empty_source_ends() -> None:
    sink = Recorder()
    pipeline = Pipeline(ToySource(0), Segmenter(ToyBackend()), [sink])
    pipeline.start()
    pipeline.join()
    assert counts(finish(pipeline)) == (0, 0, 0, 0)
    assert sink.closed == 1


@pytest.mark.parametrize("policy", ["newest", "all"])
def test_the_policy_can_be_chosen(policy: str) -> None:
    sink = Recorder()
    source = ToySource(60, live=policy == "all")
    pipeline = Pipeline(source, Segmenter(ToyBackend(takes_s=0.005)), [sink], policy=policy)
    pipeline.start()
    pipeline.join()
    taken, out, dropped, _ = counts(finish(pipeline))
    assert taken == 60
    assert sink.numbers == sorted(sink.numbers)
    if policy == "all":
        assert (out, dropped) == (60, 0)
    else:
        assert dropped > 0 and sink.numbers[-1] == 59  # the last frame of a source that ended is not thrown away


def test_an_unknown_policy_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Did you mean 'newest'"):
        Pipeline(ToySource(), Segmenter(ToyBackend()), policy="newst")


# How old it is. These hold on a machine that is busy with something else, too, and would not behind a queue on any; the
# strict limits in milliseconds are in `benchmarks/pipeline_cost.py`.


class Lag(ToyBackend):
    """Notes how many frames the camera is ahead when a frame gets to the backend; frames hold their number."""

    def __init__(self, source: ToySource, takes_s: float) -> None:
        super().__init__(takes_s=takes_s)
        self.source = source
        self.frames: list[int] = []

    def infer(self, inputs):
        self.frames.append(self.source.made - 1 - int(inputs["image"][0, 0, 0, 0]))
        return super().infer(inputs)


def test_a_slow_model_gets_the_newest_frame() -> None:
    """100 fps and 25 ms: behind a queue of 4, frames would be 100 ms and 10 frames old when taken."""
    source = ToySource(None, fps=100.0, live=True)
    backend = Lag(source, takes_s=0.025)
    pipeline = Pipeline(source, Segmenter(backend), [Recorder()])
    pipeline.start()
    # By results and not by seconds: a machine that pauses leaves few of those that a second has.
    wait_until(lambda: pipeline.stats.counts()["frames_out"] >= 35, "no results came")
    pipeline.stop()
    pipeline.join()
    report = finish(pipeline)
    came, out, dropped, failed = counts(report)
    assert failed == 0
    assert out == report["age_taken"]["samples"] == report["frame_age"]["samples"] == backend.calls
    assert out <= 0.42 * came + 2
    assert np.median(backend.frames[1:]) <= 3
    assert report["age_taken"]["p50_ms"] < 50.0
    assert report["frame_age"]["p50_ms"] > 25.0


def test_a_fast_model_drops_nothing() -> None:
    """A camera whose next frame comes when the last one is being inferred: the mailbox is free by then."""
    backend = ToyBackend(takes_s=0.001)

    class Paced(ToySource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                yield frame
                wait_until(lambda number=frame.number: backend.calls > number, "the frame was not taken")

    sink = Recorder()
    pipeline = Pipeline(Paced(50, live=True), Segmenter(backend), [sink])
    pipeline.start()
    pipeline.join()
    assert counts(finish(pipeline)) == (50, 50, 0, 0)
    assert sink.numbers == list(range(50))


def test_a_slow_sink_makes_frames_drop_before_the_model_and_not_age_behind_it() -> None:
    backend = ToyBackend()
    ahead: list[int] = []

    class Slow(Recorder):
        def write(self, result) -> None:
            super().write(result)
            ahead.append(backend.calls - len(self.results))

    pipeline = Pipeline(ToySource(60, fps=100.0, live=True), Segmenter(backend), [Slow(takes_s=0.03)])
    pipeline.start()
    pipeline.join()
    report = finish(pipeline)
    assert report["dropped"] > 20
    assert backend.calls == report["frames_out"]
    # One result waits for the one that is being written; behind it, nothing is inferred in advance.
    assert max(ahead) == 1


# What breaks


def test_a_source_error_comes_out_after_the_frames_before_it() -> None:
    sink = Recorder()
    pipeline = Pipeline(ToySource(10, fails_at=4), Segmenter(ToyBackend()), [sink])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the source broke"):
        pipeline.join()
    report = finish(pipeline)
    assert report["frames_in"] == 4
    assert sink.numbers == list(range(report["frames_out"]))
    assert report["failed"] == 0
    assert sink.closed == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_backend_error_is_one_failed_frame(live: bool) -> None:
    sink, source = Recorder(), ToySource(None, fps=200.0 if live else None, live=live)
    pipeline = Pipeline(source, Segmenter(ToyBackend(fails_at=3)), [sink])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the backend broke"):
        pipeline.join()
    _, out, _, failed = counts(finish(pipeline))
    # The warm-up is call 0, so call 3 is the third frame.
    assert (out, failed, len(sink.results), sink.closed) == (2, 1, 2, 1)
    assert source.closed.is_set()


def test_a_backend_that_fails_in_its_warm_up_stops_before_the_first_frame() -> None:
    source = ToySource(None)
    pipeline = Pipeline(source, Segmenter(ToyBackend(fails_at=0)), [Recorder()])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the backend broke"):
        pipeline.join()
    assert counts(finish(pipeline)) == (0, 0, 0, 0)


@pytest.mark.parametrize("live", [True, False])
def test_a_sink_error_ends_the_run(live: bool) -> None:
    # Slow, so that the second thread waits for room when the sink fails.
    good, bad = Recorder(), Recorder(takes_s=0.02, fails_at=2)
    source = ToySource(None, fps=200.0 if live else None, live=live)
    pipeline = Pipeline(source, Segmenter(ToyBackend()), [good, bad])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the sink broke"):
        pipeline.join()
    _, out, _, failed = counts(finish(pipeline))
    assert out == 2
    assert 1 <= failed <= 3  # the frame itself, and those that were inferred behind it
    assert (good.closed, bad.closed) == (1, 1)


def test_an_error_at_a_sinks_end_comes_out_and_the_others_are_closed() -> None:
    sinks = [Recorder(fails_to_close=True), Recorder()]
    pipeline = Pipeline(ToySource(3), Segmenter(ToyBackend()), sinks)
    pipeline.start()
    with pytest.raises(RuntimeError, match="the sink's end broke"):
        pipeline.join()
    assert counts(finish(pipeline)) == (3, 3, 0, 0)
    assert sinks[1].closed == 1


def test_the_first_error_wins() -> None:
    bad = Recorder(fails_at=0, fails_to_close=True)
    pipeline = Pipeline(ToySource(None), Segmenter(ToyBackend()), [bad])
    pipeline.start()
    with pytest.raises(RuntimeError, match="the sink broke"):
        pipeline.join()
    finish(pipeline)


# Stopping


@pytest.mark.parametrize("live", [True, False])
def test_a_stop_in_the_middle_finishes_what_is_on_its_way(live: bool) -> None:
    sink, source = Recorder(takes_s=0.004), ToySource(None, fps=200.0 if live else None, live=live)
    backend = ToyBackend(takes_s=0.003)
    pipeline = Pipeline(source, Segmenter(backend), [sink])
    pipeline.start()
    wait_until(lambda: len(sink.results) >= 5, "no results came")
    pipeline.stop()
    pipeline.stop()
    pipeline.join()
    _, out, dropped, failed = counts(finish(pipeline))
    assert failed == 0
    assert out == len(sink.results) == backend.calls  # every frame that was taken came out
    assert sink.closed == 1


def test_a_stop_wakes_a_source_that_waits_for_a_frame() -> None:
    sink = Recorder()
    pipeline = Pipeline(Stuck(), Segmenter(ToyBackend()), [sink])
    pipeline.start()
    wait_until(lambda: len(sink.results) == 2, "no results came")
    pipeline.stop()
    pipeline.join()  # that the source complains about being closed is no error
    assert counts(finish(pipeline)) == (2, 2, 0, 0)


def test_a_source_that_does_not_come_back_is_given_up(monkeypatch, capsys) -> None:
    monkeypatch.setattr("edgeseg.runtime.pipeline.CLOSING_S", 0.05)
    release = threading.Event()

    class Deaf(Stuck):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(np.zeros((8, 8, 3), np.uint8), 0, time.monotonic_ns())
            release.wait(PATIENCE_S)

    sink = Recorder()
    pipeline = Pipeline(Deaf(), Segmenter(ToyBackend()), [sink])
    pipeline.start()
    wait_until(lambda: len(sink.results) == 1, "no result came")
    pipeline.stop()
    pipeline.join()
    release.set()
    assert "warning: the source toy did not come back" in capsys.readouterr().err


def test_a_sink_may_ask_to_stop() -> None:
    sink = Recorder()
    sink.wants_stop = False
    source = ToySource(None, fps=100.0, live=True)
    pipeline = Pipeline(source, Segmenter(ToyBackend()), [Recorder(), sink])
    pipeline.start()
    wait_until(lambda: len(sink.results) >= 3, "no results came")
    assert not pipeline.wait(0.05)
    sink.wants_stop = True
    pipeline.join()
    assert counts(finish(pipeline))[3] == 0
    assert source.closed.is_set()


def test_a_stop_before_the_start() -> None:
    for start in (True, False):
        sink = Recorder()
        pipeline = Pipeline(ToySource(None), Segmenter(ToyBackend()), [sink])
        pipeline.stop()
        if start:
            pipeline.start()
        pipeline.join()
        assert counts(finish(pipeline)) == (0, 0, 0, 0)
        assert sink.closed == int(start)


def test_misuse_is_told() -> None:
    pipeline = Pipeline(ToySource(1), Segmenter(ToyBackend()))
    with pytest.raises(RuntimeError, match="not started"):
        pipeline.join()
    pipeline.start()
    with pytest.raises(RuntimeError, match="once"):
        pipeline.start()
    pipeline.join()


def test_a_signal_handler_may_stop_while_join_waits() -> None:
    source, sink = ToySource(None, fps=100.0, live=True), Recorder()
    pipeline = Pipeline(source, Segmenter(ToyBackend()), [sink])
    before = signal.signal(signal.SIGINT, lambda *_: pipeline.stop())
    try:
        pipeline.start()
        wait_until(lambda: sink.results, "no result came")
        interrupt_soon()
        pipeline.join()
    finally:
        signal.signal(signal.SIGINT, before)
    _, out, _, failed = counts(finish(pipeline))
    assert out > 0 and failed == 0 and sink.closed == 1


def test_ctrl_c_in_join_leaves_a_pipeline_that_can_be_stopped() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    source, sink = ToySource(None, fps=100.0, live=True), Recorder()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), Pipeline(source, Segmenter(ToyBackend()), [sink]) as pipeline:
            pipeline.start()
            interrupt_soon()
            pipeline.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert counts(finish(pipeline))[3] == 0
    assert sink.closed == 1


# As an iterator


def test_results_are_yielded_in_order() -> None:
    pipeline = Pipeline(ToySource(25), Segmenter(ToyBackend()))
    assert [result.frame_number for result in pipeline.results()] == list(range(25))
    assert counts(finish(pipeline)) == (25, 25, 0, 0)


@pytest.mark.parametrize("live", [True, False])
def test_a_consumer_may_leave_early(live: bool) -> None:
    source, sink = ToySource(None, fps=200.0 if live else None, live=live), Recorder()
    pipeline = Pipeline(source, Segmenter(ToyBackend()), [sink])
    results = pipeline.results()
    assert [next(results).frame_number for _ in range(3)] == [0, 1, 2] or live
    results.close()
    assert finish(pipeline)["failed"] == 0
    assert source.closed.is_set() and sink.closed == 1


def test_errors_come_out_of_the_iterator() -> None:
    pipeline = Pipeline(ToySource(None), Segmenter(ToyBackend(fails_at=3)))
    numbers = []
    with pytest.raises(RuntimeError, match="the backend broke"):
        numbers.extend(result.frame_number for result in pipeline.results())
    assert numbers == [0, 1]
    assert counts(finish(pipeline))[1] == 2


def test_stream_closes_its_source_and_leaves_a_given_segmenter_open() -> None:
    source, backend = ToySource(None), ToyBackend()
    segmenter = Segmenter(backend)
    results = edgeseg.stream(source, segmenter)
    assert next(results).label_map.shape == (48, 64)
    results.close()
    assert source.closed.is_set() and backend.closed == 0
    results = edgeseg.stream(ToySource(3), segmenter, smooth="uncertainty")
    assert [result.frame_number for result in results] == [0, 1, 2]


def test_stream_runs_a_real_model_over_a_real_folder(tiny_model: Path, tmp_path: Path) -> None:
    import cv2

    for number, value in enumerate((0, 200, 90)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20 + number, 30, 3), value, np.uint8))
    results = list(edgeseg.stream(str(tmp_path), tiny_model, backend="onnxruntime"))
    assert [result.label_map.shape for result in results] == [(20, 30), (21, 30), (22, 30)]
    assert [int(result.label_map.mean()) for result in results] == [0, 1, 0]
    assert [result.frame.name for result in results] == ["0.png", "1.png", "2.png"]


# Smoothing


class Alternating(ToySource):
    """Two shades in turn, as much apart as one scene may be; can change its frames' size in the middle."""

    sides = (40,) * 6
    shades = (100, 112)

    def __iter__(self) -> Iterator[Frame]:
        for number, side in enumerate(self.sides):
            image = np.full((side, side, 3), self.shades[number % 2], np.uint8)
            yield Frame(image, number, time.monotonic_ns())


def smoothed(source: ToySource) -> list[int]:
    sink = Recorder()
    pipeline = Pipeline(source, Segmenter(ToyBackend()), [sink], smoother=Smoother("exponential", 0.5))
    pipeline.start()
    pipeline.join()
    return [int(result.probability[3, 3]) for result in sink.results]


def test_neighbouring_frames_are_smoothed() -> None:
    expected, state = [], 0.0
    for number in range(6):
        state = 0.5 * state + 0.5 * (100 + 12 * (number % 2)) if number else 100.0
        expected.append(state)
    assert smoothed(Alternating()) == pytest.approx(expected, abs=0.5)


def test_a_new_frame_size_starts_afresh() -> None:
    source = Alternating()
    source.sides = (40, 40, 60, 60)
    assert smoothed(source) == pytest.approx([100, 106, 100, 106], abs=0.5)


def test_another_scene_starts_afresh() -> None:
    source = Alternating()
    source.shades = (0, 255)
    assert smoothed(source) == [0, 255] * 3


def test_unrelated_pictures_are_never_smoothed(capsys: pytest.CaptureFixture[str]) -> None:
    source = Alternating()
    source.unrelated = True
    assert smoothed(source) == [100, 112] * 3
    assert capsys.readouterr().err.startswith("warning: no smoothing")


def test_smoothing_wants_a_probability() -> None:
    classes = tuple(ClassInfo(n, str(n), (n, n, n)) for n in range(3))
    segmenter = Segmenter(ToyBackend(person_manifest(classes=classes, outputs=("label_map",))))
    with pytest.raises(UsageError, match="no probability to smooth"):
        Pipeline(ToySource(1), segmenter, smoother=Smoother())


# Models with memory


def answers(source: ToySource, manifest: Manifest | None = None) -> list[int]:
    """The probability of each frame's first pixel, by a model that is told what it said last."""
    sink = Recorder()
    pipeline = Pipeline(source, Segmenter(ToyBackend(manifest or person_manifest(memory=True))), [sink])
    pipeline.start()
    pipeline.join()
    finish(pipeline)
    return [int(result.probability[0, 0]) for result in sink.results]


def test_a_model_with_memory_is_fed_its_own_last_answer() -> None:
    wanted = [0]
    for brightness in range(1, 20):
        wanted.append(round((brightness + wanted[-1]) / 2))
    assert answers(ToySource(20)) == wanted
    # Without it, each frame is the first.
    assert answers(ToySource(20), person_manifest()) == list(range(20))


def test_unrelated_pictures_have_no_memory() -> None:
    source = ToySource(20)
    source.unrelated = True
    assert answers(source) == [round(brightness / 2) for brightness in range(20)]


def test_streams_that_share_a_segmenter_have_a_memory_each() -> None:
    segmenter, sinks = Segmenter(ToyBackend(person_manifest(memory=True))), [Recorder(), Recorder()]
    pipelines = [Pipeline(ToySource(20), segmenter, [sink]) for sink in sinks]
    for pipeline in pipelines:
        pipeline.start()
    for pipeline in pipelines:
        pipeline.join()
    alone = answers(ToySource(20))
    for sink in sinks:
        assert [int(result.probability[0, 0]) for result in sink.results] == alone
