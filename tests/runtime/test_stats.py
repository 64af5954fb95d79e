"""Stats: the report's keys, percentiles, bounded memory, and threads that record at once."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from edgeseg.runtime import stats as stats_module
from edgeseg.runtime.mailbox import Mailbox
from edgeseg.runtime.stats import Stats


def test_the_report_of_an_empty_run() -> None:
    report = Stats().to_dict()
    assert [report[name] for name in ("frames_in", "frames_out", "dropped", "skipped", "failed")] == [0] * 5
    assert report["throughput_fps"] is None
    assert report["age_taken"] is None and report["frame_age"] is None
    assert report["inference"] == {"p50_ms": None, "p95_ms": None, "p99_ms": None, "samples": 0}
    json.dumps(report, allow_nan=False)


def test_percentiles_are_numpys() -> None:
    stats = Stats()
    values = np.random.default_rng(0).exponential(3.0, 1000)
    for value in values:
        stats.record(inference=float(value), frame_age=2.0)
    report = stats.to_dict()
    for percent in (50, 95, 99):
        assert report["inference"][f"p{percent}_ms"] == pytest.approx(np.percentile(values, percent))
    assert report["inference"]["samples"] == 1000
    assert report["frame_age"] == {"p50_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0, "samples": 1000}
    assert stats.percentile_ms("inference", 95) == pytest.approx(np.percentile(values, 95))


def test_memory_is_bounded_and_the_choice_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_module, "KEPT_SAMPLES", 500)
    stats = Stats()
    for value in range(20_000):
        stats.record(inference=float(value))
    report = stats.to_dict()["inference"]
    assert report["samples"] == 20_000
    # Of a fair choice of 500 from 0 to 19999, the median lies within 9000 to 11000 but once in some 10^5 seeds.
    assert 9_000 < report["p50_ms"] < 11_000
    assert len(stats._spans["inference"]._kept) == 500


def test_throughput_is_results_over_the_time_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(5_000_000_000, 6_000_000_000, 25_000_000))
    monkeypatch.setattr(stats_module.time, "monotonic_ns", lambda: next(ticks))
    stats = Stats()
    for _ in range(9):
        stats.count("frames_out")
    assert stats.to_dict()["throughput_fps"] == pytest.approx(40.0)


def test_losses_of_a_hand_over_are_added() -> None:
    stats, box = Stats(), Mailbox[int]()
    stats.follow("dropped", box)
    for number in range(4):
        box.put(number)
    assert stats.to_dict()["dropped"] == 3


def test_threads_lose_no_count() -> None:
    stats = Stats()

    def work() -> None:
        for _ in range(2000):
            stats.count("frames_in")
            stats.record(inference=1.0, sinks=2.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = stats.to_dict()
    assert (report["frames_in"], report["inference"]["samples"], report["sinks"]["samples"]) == (8000, 8000, 8000)
