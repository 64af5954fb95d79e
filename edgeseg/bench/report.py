"""What `edgeseg bench` found: figures by pair of backend and precision, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgeseg.runtime.backends.timed import Block, quiet_blocks

# Part of the blocks whose samples make the figures.
QUIET_SHARE = 0.1
PROTOCOL = (
    "Blocks of calls, the candidates in turn. p50_ms, p95_ms, p99_ms and throughput_fps are of the samples in the "
    f"quiet {QUIET_SHARE:.0%} of the blocks, those with the lowest medians: what the model needs when nothing disturbs "
    "the machine. `everything` has the percentiles of all samples: what it took while this ran."
)


@dataclass(frozen=True, slots=True)
class SpanReport:
    """One named span of time.

    Attributes:
        p50_ms, p95_ms, p99_ms: percentiles over `samples` calls, those of the quiet blocks.
        mean_ms: mean of the same calls.
        samples: how many calls those are.
        everything: {"p50_ms", "p95_ms", "p99_ms", "samples"} over all timed calls.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    samples: int
    everything: Mapping[str, float]

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> SpanReport:
        """The figures of a span from its blocks of milliseconds."""
        quiet = _flat(quiet_blocks(blocks, QUIET_SHARE))
        found = _percentiles(quiet)
        return cls(*found, sum(quiet) / len(quiet), len(quiet), _named(_flat(blocks)))


@dataclass(frozen=True, slots=True)
class PairReport:
    """One backend with one model file.

    Attributes:
        backend, precision, device: what ran where.
        runtime: the backend's own description: version, threads, inference precision.
        engine: the backend alone, on an input that lies ready.
        end_to_end: frame in, full-size mask out: preprocess, inference, postprocess, one after the other.
        stages: the same calls by stage: preprocess, inference, postprocess.
    """

    backend: str
    precision: str
    device: str
    runtime: Mapping[str, Any]
    engine: SpanReport
    end_to_end: SpanReport
    stages: Mapping[str, SpanReport]

    @property
    def throughput_fps(self) -> float:
        """Results a second of a loop that works on one frame at a time."""
        return 1e3 / self.end_to_end.mean_ms

    def figures(self) -> dict[str, float]:
        """The figures by the names that `--require` knows."""
        named = {
            f"{name}_p{percent}_ms": getattr(span, f"p{percent}_ms")
            for name, span in (("engine", self.engine), ("end_to_end", self.end_to_end), *self.stages.items())
            for percent in (50, 95, 99)
        }
        return named | {"throughput_fps": self.throughput_fps, "engine_throughput_fps": 1e3 / self.engine.mean_ms}

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self) | {"throughput_fps": self.throughput_fps}


@dataclass(frozen=True, slots=True)
class BenchReport:
    """A whole run.

    Attributes:
        model: name or path as given.
        source: the frames of the end-to-end part.
        frame_size: "WIDTHxHEIGHT" of the first frame.
        warm_up: calls of each span before the first that counts.
        duration_s: of all rounds.
        pairs: figures, in the order in which they were asked for.
        machine: see `edgeseg.machine.describe`, and `clock_mhz_end`.
        load: others_cpu_share and stolen_cpu_share while measuring, None where it cannot be read.
        left_out: why a pair was not measured, by "BACKEND PRECISION" or "BACKEND".
    """

    model: str
    source: str
    frame_size: str
    warm_up: int
    duration_s: float
    pairs: tuple[PairReport, ...]
    machine: Mapping[str, Any]
    load: Mapping[str, float | None]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON, with the protocol in words."""
        return asdict(self) | {"pairs": [pair.to_dict() for pair in self.pairs], "protocol": PROTOCOL}

    def table(self) -> str:
        """The figures for people: a line a pair, and below what they mean."""
        times = ("p50_ms", "p95_ms", "p99_ms")
        head = ["backend", "precision", "device", "engine p50", "p95", "p99", "end to end p50", "p95", "p99", "fps"]
        rows = [head]
        for pair in self.pairs:
            spans = [f"{getattr(span, time):.2f}" for span in (pair.engine, pair.end_to_end) for time in times]
            rows.append([pair.backend, pair.precision, pair.device, *spans, f"{pair.throughput_fps:.1f}"])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            words = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*words, *numbers]))
        return "\n".join([*lines, "", *self._notes()])

    def _notes(self) -> list[str]:
        span, machine = self.pairs[0].end_to_end, self.machine
        mode = ", ".join(str(machine[key]) for key in ("governor", "power_mode") if machine.get(key))
        clock = f"{max(machine['clock_mhz'])} MHz" if machine.get("clock_mhz") else "cannot be read"
        software = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
        medians = ", ".join(f"{p.backend} {p.precision} {p.end_to_end.everything['p50_ms']:.2f}" for p in self.pairs)
        return [
            f"{self.model} on {self.source} ({self.frame_size}), milliseconds; end to end is frame in, mask out",
            f"warm-up {self.warm_up} calls; counted: {span.samples} samples, those of the quiet {QUIET_SHARE:.0%} of "
            f"the blocks; end-to-end p50 of all {span.everything['samples']}: {medians}",
            f"{machine['cpu']}, {machine['cores']} cores; clock {clock}; power mode {mode or 'cannot be read'}",
            f"Python {machine['python']}, {software}",
            *(f"not measured: {name} ({why})" for name, why in self.left_out.items()),
        ]


def _flat(blocks: Sequence[Block]) -> list[float]:
    return [value for block in blocks for value in block]


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    p50, p95, p99 = (float(value) for value in np.percentile(values, (50, 95, 99)))
    return p50, p95, p99


def _named(values: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = _percentiles(values)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "samples": len(values)}
