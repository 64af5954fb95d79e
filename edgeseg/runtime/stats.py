"""Counts frames and keeps how long each span took, for the report after a run and for whoever looks in meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

COUNTS = ("frames_in", "frames_out", "dropped", "skipped", "failed")
# `capture` is the wait for the source, `sinks` the time until all sinks have taken a result: one with a thread of its
# own (`sinks.guarded`) writes afterwards, and says itself how long that took.
SPANS = ("capture", "preprocess", "inference", "postprocess", "sinks")
AGES = ("age_taken", "frame_age")
# Of so many by chance the 99th percentile is the 99th give or take 0.11 (sqrt(0.99 * 0.01 / 8192)), however many
# millions there were; and memory stands still after some minutes.
KEPT_SAMPLES = 8192


class Stats:
    """Thread-safe counts and spans of one stream."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(COUNTS, 0)
        self._followed: list[tuple[str, Any, str]] = []
        self._reports: dict[str, Callable[[], Any]] = {}
        self._spans = {name: Samples() for name in (*SPANS, *AGES)}
        self._first_ns = self._last_ns = 0

    def count(self, name: str) -> None:
        """One more of `frames_in`, `frames_out`, `skipped` or `failed`."""
        with self._lock:
            self._counts[name] += 1
            if name == "frames_out":
                self._last_ns = time.monotonic_ns()
                self._first_ns = self._first_ns or self._last_ns

    @contextlib.contextmanager
    def failures_counted(self) -> Iterator[None]:
        """Count a frame whose work ends in an error as `failed`."""
        try:
            yield
        except BaseException:
            self.count("failed")
            raise

    def follow(self, name: str, hand_over: object, attribute: str = "dropped") -> None:
        """Add what `hand_over` drops, or counts under another name, to the count `name`, from now on."""
        with self._lock:
            self._followed.append((name, hand_over, attribute))

    def add_report(self, name: str, report: Callable[[], Any]) -> None:
        """A part of `to_dict` that somebody else knows: what `report` returns, left out where that is None."""
        with self._lock:
            self._reports[name] = report

    def record(self, **spans_ms: float) -> None:
        """One more sample, in milliseconds, of each span that is named."""
        with self._lock:
            for name, value in spans_ms.items():
                self._spans[name].add(value)

    def percentile_ms(self, span: str, percent: float) -> float | None:
        """A percentile of one span in milliseconds (linear between samples); None without samples."""
        with self._lock:
            return self._spans[span].percentile(percent)

    def counts(self) -> dict[str, Any]:
        """frames_in, frames_out, dropped, skipped, failed and throughput_fps: cheap enough to look at all the time.

        frames_in is the sum of the next four once the pipeline has ended; until then a few frames are on their way.
        throughput_fps is results a second between the first result and the last, None with less than two.
        """
        with self._lock:
            counts = dict(self._counts)
            for name, hand_over, attribute in self._followed:
                counts[name] += getattr(hand_over, attribute)
            elapsed_ns = self._last_ns - self._first_ns
            fps = (counts["frames_out"] - 1) * 1e9 / elapsed_ns if elapsed_ns > 0 else None
            return {**counts, "throughput_fps": fps}

    def to_dict(self) -> dict[str, Any]:
        """The report of `--stats`: `counts()`, and for every span its p50_ms, p95_ms, p99_ms and samples.

        An age is None where none was taken, as with files.
        """
        report = self.counts()
        with self._lock:
            kept = {name: samples.copy() for name, samples in self._spans.items()}
        # Sorting takes milliseconds after a long run: not while the threads wait for the lock.
        for name, samples in kept.items():
            report[name] = None if name in AGES and not samples.seen else samples.to_dict()
        more = {name: part() for name, part in self._reports.items()}
        return report | {name: part for name, part in more.items() if part is not None}


class Samples:
    """A span's samples, from a limit on a fair choice of them: reservoir sampling, algorithm R of Vitter, 1985."""

    def __init__(self) -> None:
        self.seen = 0
        self._kept = array("d")
        self._random = random.Random(0)

    def add(self, value: float) -> None:
        self.seen += 1
        if len(self._kept) < KEPT_SAMPLES:
            self._kept.append(value)
        elif (place := self._random.randrange(self.seen)) < KEPT_SAMPLES:
            self._kept[place] = value

    def copy(self) -> Samples:
        other = Samples()
        other.seen, other._kept = self.seen, self._kept[:]
        return other

    def percentile(self, percent: float) -> float | None:
        return float(np.percentile(self._kept, percent)) if self.seen else None

    def to_dict(self) -> dict[str, float | int | None]:
        return {f"p{percent}_ms": self.percentile(percent) for percent in (50, 95, 99)} | {"samples": self.seen}
