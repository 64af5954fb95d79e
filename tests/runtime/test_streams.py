"""Several streams at one engine: equal shares, fresh frames, and nobody waits for one that is slow, dead or broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from stand_ins import Recorder, Stuck, ToyBackend, ToySource

from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.streams import Streams
from edgeseg.runtime.turnstile import Turnstile


def streams_of(*sources: ToySource, takes_s: float = 0.0, sinks: dict[int, Recorder] | None = None) -> Streams:
    segmenter, turnstile = Segmenter(ToyBackend(takes_s=takes_s)), Turnstile()
    return Streams(
        [
            Pipeline(source, segmenter, [(sinks or {}).get(place, Recorder())], turnstile=turnstile)
            for place, source in enumerate(sources)
        ]
    )


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_who_comes_first_passes_first_and_who_comes_again_stands_behind() -> None:
    turnstile, order = Turnstile(places=1), list[int]()
    entered, all_wait = threading.Event(), threading.Event()

    def pass_twice(number: int) -> None:
        for _ in range(2):
            with turnstile.passed():
                order.append(number)

    def hold() -> None:
        with turnstile.passed():
            entered.set()
            assert all_wait.wait(60)

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    entered.wait()
    for number in range(4):
        threads.append(threading.Thread(target=pass_twice, args=(number,)))
        threads[-1].start()
        until(lambda number=number: len(turnstile._waiting) > number)
    all_wait.set()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_place_comes_back_from_one_that_failed() -> None:
    turnstile = Turnstile(places=1)
    with pytest.raises(RuntimeError), turnstile.passed():
        raise RuntimeError("inside")
    with turnstile.passed():
        pass


def test_equal_shares_of_fresh_frames() -> None:
    """Six cameras of 100 fps and an engine of 10 ms: a queue would make frames 60 ms old."""
    streams = streams_of(*(ToySource(None, fps=100, live=True) for _ in range(6)), takes_s=0.01)
    streams.start()
    until(lambda: streams.counts()["frames_out"] >= 240)
    streams.stop()
    streams.join()
    report = streams.to_dict()
    each = report["streams"]
    out = [own["frames_out"] for own in each]
    assert min(out) >= 0.8 * max(out), out
    assert report["frames_out"] == sum(out) >= 240
    assert report["throughput_fps"] == pytest.approx(sum(own["throughput_fps"] for own in each))
    for own in each:
        assert own["frames_in"] == own["frames_out"] + own["dropped"] and own["failed"] == own["skipped"] == 0
        # A camera's newest frame is up to 10 ms old by itself. A machine that pauses makes a few frames old, not half.
        assert own["age_taken"]["p50_ms"] < 30, own["age_taken"]


def test_a_slow_and_a_dead_stream_hold_nobody_up() -> None:
    dead, slow = Stuck(live=True), ToySource(None, fps=2, live=True)
    quick = ToySource(None, fps=50, live=True)
    streams = streams_of(dead, slow, quick)
    counts = [pipeline.stats.counts for pipeline in streams.pipelines]
    streams.start()
    until(lambda: counts[1]()["frames_out"] >= 2 and counts[2]()["frames_out"] >= 60)
    streams.stop()
    streams.join()
    out = [each()["frames_out"] for each in counts]
    # The dead one's second frame may have replaced its first.
    assert 1 <= out[0] <= 2 and out[2] > 5 * out[1], out


def test_a_stream_that_breaks_ends_alone(capfd: pytest.CaptureFixture[str]) -> None:
    sinks = {0: Recorder(fails_at=3), 1: Recorder()}
    streams = streams_of(ToySource(20), ToySource(40, fps=30), sinks=sinks)
    streams.start()
    while not streams.wait(0.1):
        pass
    with pytest.raises(RuntimeError, match="the sink broke"):
        streams.join()
    assert len(sinks[1].results) == 40 and len(sinks[0].results) == 3
    assert capfd.readouterr().err == "warning: toy has ended: the sink broke\n"


def test_of_several_that_break_each_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    streams = streams_of(*(ToySource(9) for _ in range(3)), sinks={0: Recorder(fails_at=3), 2: Recorder(fails_at=3)})
    streams.start()
    assert streams.wait(60), "both are at their end before anybody looks"
    for pipeline in streams.pipelines:
        pipeline.source.name = f"toy {streams.pipelines.index(pipeline)}"
    with pytest.raises(RuntimeError, match="the sink broke"):
        streams.join()
    assert capfd.readouterr().err == "warning: toy 2 has ended: the sink broke\n"


def test_files_come_out_whole() -> None:
    sinks = {place: Recorder() for place in range(3)}
    streams = streams_of(*(ToySource(30) for _ in sinks), takes_s=0.001, sinks=sinks)
    streams.start()
    streams.join()
    assert [sink.numbers for sink in sinks.values()] == [list(range(30))] * 3
