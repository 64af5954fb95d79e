"""`edgeseg verify`: the same frames through two files of one network, and how far apart they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.export.verify import Report

HELP = "compare files and engines of one network on the same frames"
EXAMPLE = "edgeseg verify model.onnx model.int8.onnx --frames DIR --bisect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `verify`."""
    from edgeseg.cli.arguments import add_json, number, whole

    parser.add_argument(
        "reference", type=Path, metavar="REFERENCE", help="a checkpoint (runs in torch) or an ONNX file"
    )
    parser.add_argument(
        "candidate", type=Path, metavar="CANDIDATE", help="another one of the same network, or an engine"
    )
    parser.add_argument(
        "--engine",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="by edgeseg build, as one more stage, on this machine's GPU; may be given again",
    )
    parser.add_argument("--frames", required=True, type=Path, metavar="DIR|CLIP", help="what both are run on")
    parser.add_argument("--split", metavar="NAME", help="of a data set in --frames, whose masks are then scored too")
    parser.add_argument(
        "--count", type=whole("count", 1), default=32, metavar="N", help="at most N frames (default 32)"
    )
    parser.add_argument(
        "--min-agreement",
        type=number("agreement", 0, 1),
        metavar="SHARE",
        help="of labels that must be equal, else exit code 5 (default 0.99)",
    )
    parser.add_argument("--bisect", action="store_true", help="find the first node at which the two files part")
    parser.add_argument("--evaluator", action="store_true", help="run ONNX's reference evaluator too (slow)")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Compare, print the table, and end with 5 where too few labels agree or a node is at fault."""
    import dataclasses

    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.errors import LimitError, UsageError
    from edgeseg.export.stages import manifest_of_file
    from edgeseg.export.verify import MIN_AGREEMENT, bisect, check_searchable, read_frames, verify
    from edgeseg.machine import describe
    from edgeseg.manifest import ENGINE_SUFFIX
    from edgeseg.runtime.notices import Progress

    check_target(args.json, args.reference, args.candidate, *args.engine)
    for path in args.engine:
        if path.suffix != ENGINE_SUFFIX:
            raise UsageError("no engine's file name", path, f"Give NAME{ENGINE_SUFFIX}, or an ONNX file as CANDIDATE")
    if args.bisect:
        check_searchable(args.candidate)
    least = MIN_AGREEMENT if args.min_agreement is None else args.min_agreement
    frames = read_frames(args.frames, args.split, args.count, manifest_of_file(args.reference).class_names)
    progress = Progress()
    try:
        report = verify(
            args.reference,
            args.candidate,
            frames,
            args.evaluator,
            lambda number: progress.show(f"{number} of {len(frames)} frames"),
            args.engine,
        )
    finally:
        progress.clear()
    if args.bisect:
        at, nodes = bisect(args.reference, args.candidate, frames[:8])
        report = dataclasses.replace(report, parts_at=at, nodes=tuple(nodes[:10]))
    write_json({**report.to_dict(), "min_agreement": least, "machine": describe()}, args.json)
    print(_text(report), file=text_stream(args.json))
    if report.parts_at is not None:
        seen = f"{report.parts_at.node} ({report.parts_at.operator}, error {report.parts_at.error:.3g})"
        raise LimitError("the files part at a node", seen, "Look at that layer, or export and quantize again")
    if not report.finite:
        raise LimitError("logits are not finite", args.candidate, "Find the node with --bisect")
    if report.agreement < least:
        worst = min(report.stages, key=lambda stage: stage.agreement)
        todo = "Find the node with --bisect, or calibrate on other frames"
        if worst.file.endswith(ENGINE_SUFFIX):
            todo = "Compare the ONNX file that it was built from, with --bisect, or build in another precision"
        seen = f"{report.agreement:.2%} in {worst.file} by {worst.runtime}"
        raise LimitError(f"fewer than {least:.1%} of the labels agree", seen, todo)
    return 0


def _text(report: Report) -> str:
    """The report for a person to read."""
    from edgeseg.cli.output import table

    def figure(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    header = ["file", "runtime", "logits: max error", "mean error", "labels equal %", "mIoU %"]
    rows = [
        [
            stage.file,
            stage.runtime,
            figure(stage.max_error, 4),
            figure(stage.mean_error, 5),
            figure(100 * stage.agreement, 3),
            figure(None if stage.miou is None else 100 * stage.miou, 2),
        ]
        for stage in (report.reference, *report.stages)
    ]
    parts = [f"{report.frames} frames, each against the first row", table(header, rows), *report.notes]
    if report.nodes:
        listed = [[item.node, item.operator, f"{item.error:.4f}"] for item in report.nodes]
        parts.append(f"the largest errors of single nodes\n{table(['node', 'operator', 'error'], listed)}")
    return "\n\n".join(parts)
