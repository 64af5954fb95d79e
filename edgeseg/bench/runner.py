"""Times engine and whole way of each pair of backend and precision in turn, and makes the report."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeseg.bench.report import BenchReport, PairReport, SpanReport
from edgeseg.bench.selection import Pair, gather, load
from edgeseg.bench.timing import Call, Plan, Rounds, Tell, run_rounds
from edgeseg.machine import clocks_mhz, describe
from edgeseg.runtime.backends.base import first_inputs
from edgeseg.types import Frame

if TYPE_CHECKING:
    from edgeseg.runtime.segmenter import Segmenter

# Rounds last so long for each pair: quiet moments of a shared machine must fall on all of them.
_SECONDS_A_PAIR = 15.0
# What other processes may take of the machine before the figures are doubtful.
_OTHERS_AT_MOST = 0.05


def run_bench(
    model: str | os.PathLike[str] = "person",
    backends: str | Sequence[str] = "auto",
    precisions: str | Sequence[str] = "auto",
    source: str = "synthetic:1280x720",
    samples: int | None = None,
    warmup: int | None = None,
    device: str | None = None,
    plan: Plan | None = None,
    tell: Tell | None = None,
) -> BenchReport:
    """Time a model: the engine alone, and frame in to full-size mask out.

    Args:
        model: a name of the zoo or a path.
        backends: names, one name, "auto" (the fastest) or "all" (those installed).
        precisions: names, one name, "all", or "auto": the fastest, and with all backends every one.
        source: where the frames come from, as for `run`; the first 16 are read before and used in turn.
        samples: timed calls of each span and pair, at least; of the plan unless given.
        warmup: calls before the first that counts; of the plan unless given.
        device: the backends' device.
        plan: the protocol; its duration is 15 s a pair, at least 30 s, unless given.
        tell: gets a line on how far it is now and then.

    Raises:
        UsageError, InputError, ModelError, BackendError: as `edgeseg.load` and `open_source`. With "all", a pair that
            cannot be loaded is left out, and it is an error only where none is left.
    """
    frames = gather(source)
    with contextlib.ExitStack() as stack:
        loaded, left_out = load(stack, model, backends, precisions, device)
        chosen = plan or Plan(seconds=max(30.0, _SECONDS_A_PAIR * len(loaded)))
        chosen = replace(chosen, samples=samples or chosen.samples, warmup=warmup or chosen.warmup)
        ways = {pair: _Way(segmenter, frames) for pair, segmenter in loaded.items()}
        machine = describe()
        rounds = run_rounds(_candidates(ways), chosen, tell)
        machine["clock_mhz_end"] = clocks_mhz()
        pairs = tuple(_report(pair, way, rounds, chosen) for pair, way in ways.items())
    _warn_if_busy(rounds)
    height, width = frames[0].image.shape[:2]
    return BenchReport(
        model=os.fspath(model),
        source=source,
        frame_size=f"{width}x{height}",
        warm_up=chosen.warmup,
        duration_s=rounds.duration_s,
        pairs=pairs,
        machine=machine,
        load={"others_cpu_share": rounds.others_share, "stolen_cpu_share": rounds.stolen_share},
        left_out=left_out,
    )


class _Way:
    """The two spans of one pair as calls, and the stages of the end-to-end calls."""

    def __init__(self, segmenter: Segmenter, frames: Sequence[Frame]) -> None:
        self.segmenter = segmenter
        self._frames: Iterator[Frame] = itertools.cycle(frames)
        image, _ = segmenter.preprocess(frames[0].image)
        self._input = first_inputs(segmenter.manifest, image)
        self.timings: list[Mapping[str, float]] = []

    def engine(self) -> object:
        """The backend alone."""
        return self.segmenter.backend.infer(self._input)

    def end_to_end(self) -> object:
        """Frame in, full-size mask out."""
        result = self.segmenter(next(self._frames))
        self.timings.append(result.timings_ms)
        return result


def _candidates(ways: Mapping[Pair, _Way]) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    for pair, way in ways.items():
        calls[_name(pair, "engine")] = way.engine
        calls[_name(pair, "end to end")] = way.end_to_end
    return calls


def _name(pair: Pair, span: str) -> str:
    return f"{pair[0]} {pair[1]}, {span}"


def _report(pair: Pair, way: _Way, rounds: Rounds, plan: Plan) -> PairReport:
    backend = way.segmenter.backend
    return PairReport(
        backend=pair[0],
        precision=backend.manifest.precision if pair[1] == "file" else pair[1],
        device=backend.device,
        runtime=dict(backend.details),
        engine=SpanReport.of(rounds.blocks[_name(pair, "engine")]),
        end_to_end=SpanReport.of(rounds.blocks[_name(pair, "end to end")]),
        stages=_stages(way.timings[plan.warmup :], plan),
    )


def _stages(timings: Sequence[Mapping[str, float]], plan: Plan) -> dict[str, SpanReport]:
    size = plan.block_warmup + plan.block
    starts = range(0, len(timings), size)
    return {
        stage: SpanReport.of([[t[stage] for t in timings[s + plan.block_warmup : s + size]] for s in starts])
        for stage in timings[0]
    }


def _warn_if_busy(rounds: Rounds) -> None:
    from edgeseg.runtime.notices import warn

    if rounds.others_share is not None and rounds.others_share > _OTHERS_AT_MOST:
        warn(f"other processes took {rounds.others_share:.0%} of the machine meanwhile: the figures are doubtful")
