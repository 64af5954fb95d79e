"""The protocol: who is called when, what counts, and that figures survive a machine with noisy neighbours."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from edgeseg.bench.report import SpanReport
from edgeseg.bench.timing import Plan, run_rounds
from edgeseg.errors import UsageError
from edgeseg.machine import cores
from edgeseg.runtime.backends.timed import median, quiet_blocks, time_block

FAST = Plan(samples=12, seconds=0, warmup=5, block=4, block_warmup=2, pause_s=0)


def test_candidates_take_turns_and_warm_ups_do_not_count() -> None:
    calls: list[str] = []
    rounds = run_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, FAST)
    assert calls[:10] == ["a"] * 5 + ["b"] * 5
    # Three rounds of 2 + 4 calls, there and back again.
    order = ["a", "b", "b", "a", "a", "b"]
    assert calls[10:] == [name for name in order for _ in range(6)]
    assert {name: [len(block) for block in blocks] for name, blocks in rounds.blocks.items()} == {
        "a": [4, 4, 4],
        "b": [4, 4, 4],
    }


def test_rounds_last_as_long_as_asked_and_no_longer_than_the_limit() -> None:
    long = run_rounds({"a": lambda: None}, Plan(samples=1, seconds=0.2, warmup=1, pause_s=0.01))
    assert long.duration_s >= 0.2
    # As many as fit, unless the machine pauses for all of that time.
    assert len(long.blocks["a"]) > 3 or long.duration_s > 0.3
    # All samples would take 200 s.
    slow = run_rounds({"a": lambda: time.sleep(0.02)}, Plan(samples=10_000, seconds=0, limit_s=0.1, warmup=1))
    assert slow.duration_s < 60 and 1 <= len(slow.blocks["a"]) < 10


def test_time_block_measures_in_milliseconds_with_the_collector_off() -> None:
    states: list[bool] = []

    def call() -> None:
        states.append(gc.isenabled())
        time.sleep(0.003)

    times_ms = time_block(call, 3, warm=1)
    assert len(times_ms) == 3 and min(times_ms) >= 3 and median(times_ms) < 100
    assert states == [False] * 4 and gc.isenabled()


def test_others_share_sees_a_busy_process() -> None:
    import subprocess
    import sys

    # An empty loop in another process; this one sleeps.
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            rounds = run_rounds({"a": lambda: time.sleep(0.01)}, Plan(samples=1, seconds=0.7, warmup=1))
        finally:
            other.kill()
    # Of one core of all; a machine that pauses adds time in which nobody computes.
    assert rounds.others_share is not None and rounds.others_share > 0.2 / cores()


def test_a_plan_refuses_nonsense() -> None:
    with pytest.raises(UsageError, match="samples"):
        Plan(samples=0)


def neighbours(seed: int, busy: float) -> list[list[float]]:
    """200 blocks of a call that takes 2 ms alone; a part of the blocks takes half as long again, some twice."""
    rng = np.random.default_rng(seed)
    slow = np.where(rng.random(200) < busy, rng.choice([1.5, 2.0], 200), 1.0)
    noise = 1 + np.abs(rng.normal(0, 0.03, (200, 8)))
    return [list(2.0 * factor * row) for factor, row in zip(slow, noise, strict=True)]


def test_two_runs_agree_though_their_neighbours_differ() -> None:
    calm, busy = SpanReport.of(neighbours(1, 0.3)), SpanReport.of(neighbours(2, 0.8))
    assert busy.everything["p50_ms"] > 1.3 * calm.everything["p50_ms"]
    for name in ("p50_ms", "p95_ms", "mean_ms"):
        assert getattr(busy, name) == pytest.approx(getattr(calm, name), rel=0.03)
    assert calm.samples == 20 * 8 and calm.everything["samples"] == 1600


def test_quiet_blocks() -> None:
    blocks = [[9.0, 9.0, 1.0], [2.0, 2.0, 50.0], [3.0, 3.0, 3.0]]
    assert quiet_blocks(blocks) == [[2.0, 2.0, 50.0]]
    assert quiet_blocks(blocks, 0.6) == [[2.0, 2.0, 50.0], [3.0, 3.0, 3.0]]
    assert median([4.0, 1.0, 3.0, 2.0]) == 2.5


def test_percentiles_of_a_span() -> None:
    span = SpanReport.of([[float(value) for value in range(1, 101)]])
    assert (span.p50_ms, span.mean_ms, span.samples) == (50.5, 50.5, 100)
    assert span.p95_ms == pytest.approx(95.05) and span.p99_ms == pytest.approx(99.01)
