"""What `edgeseg run` says of a run: a line while it goes on, a table at its end, and the content of --stats."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeseg.cli.running import numbered

if TYPE_CHECKING:
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sinks import Sink
    from edgeseg.runtime.sources import Source

SPANS = ("preprocess", "inference", "postprocess", "age_taken", "frame_age")


def progress_line(figures: Mapping[str, Any]) -> str:
    """`312 frames, 29.9 fps, 4 dropped`."""
    fps = figures["throughput_fps"]
    return f"{figures['frames_out']} frames, {fps or 0:.1f} fps, {figures['dropped']} dropped"


def check_source(source: Source, figures: Mapping[str, Any]) -> None:
    """Say that the source broke off; InputError where it gave nothing at all."""
    from edgeseg.errors import InputError
    from edgeseg.runtime.notices import warn

    if source.broken is None:
        return
    if figures["frames_in"] == 0:
        raise InputError("the source gave no frame", f"{source.name} ({source.broken})", "Try it in a video player")
    warn(f"{source.name} broke off after {figures['frames_in']} frames: {source.broken}")


def stats_report(
    figures: Mapping[str, Any], sources: Sequence[Source], segmenter: Segmenter, sinks: Sequence[Sink] = ()
) -> dict[str, Any]:
    """The content of --stats: the figures, what became of the outputs, and what they were measured on."""
    from edgeseg.cli.output import describe_segmenter
    from edgeseg.machine import describe
    from edgeseg.runtime.sinks.guarded import Guarded

    streams = [{**own, **_health(source)} for own, source in zip(figures.get("streams", ()), sources, strict=False)]
    kept = {"streams": streams} if streams else {"source": sources[0].name, **_health(sources[0])}
    outputs = [sink.report() for sink in sinks if isinstance(sink, Guarded)]
    return {**figures, **kept, "outputs": outputs, **describe_segmenter(segmenter), "machine": describe()}


def _health(source: Source) -> dict[str, Any]:
    health = getattr(source, "health", None)
    return {"source_health": dataclasses.asdict(health)} if health is not None else {}


def summary(figures: Mapping[str, Any], args: argparse.Namespace) -> str:
    """The table at the end, of a `stats_report`: counts, times a stage, files written."""
    from edgeseg.cli import budgeting
    from edgeseg.cli.output import table

    shown = [key for key in _COUNTS if figures[key] or key in _COUNTS[:2]]
    counts = ", ".join(f"{figures[key]} {key.removeprefix('frames_')}" for key in shown)
    fps = figures["throughput_fps"]
    lines = [f"frames: {counts}" + (f"; {fps:.1f} fps" if fps else "")]
    if "streams" in figures:
        lines.append(_by_stream(figures["streams"]))
    else:
        spans = {name.replace("_", " "): figures[name] for name in SPANS}
        spans |= {f"write the {output['output']}": output["write"] for output in figures["outputs"]}
        measured = {name: span for name, span in spans.items() if span and span["samples"]}
        rows = [(name, span["p50_ms"], span["p95_ms"], span["samples"]) for name, span in measured.items()]
        if rows:
            lines.append(table(("span", "p50 ms", "p95 ms", "samples"), rows))
    budgets = [own["budget"] for own in figures.get("streams", [figures]) if "budget" in own]
    lines += [budgeting.line(budget) for budget in budgets]
    several = len(args.sources) > 1
    written = [
        str(numbered(path, place, several))
        for place in range(len(args.sources))
        for path in (args.save, args.masks, args.jsonl, args.record)
        if path and str(path) != "-"
    ]
    return "\n".join([*lines, *(f"wrote {path}" for path in written)])


def _by_stream(streams: Sequence[Mapping[str, Any]]) -> str:
    from edgeseg.cli.output import table

    rows = [
        (own["source"], own["frames_in"], own["frames_out"], own["dropped"], own["throughput_fps"], _p95(own))
        for own in streams
    ]
    return table(("source", "in", "out", "dropped", "fps", "frame age p95 ms"), rows)


def _p95(own: Mapping[str, Any]) -> float | None:
    return own["frame_age"]["p95_ms"] if own["frame_age"] else None


_COUNTS = ("frames_in", "frames_out", "dropped", "skipped", "failed")
