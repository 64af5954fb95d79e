"""`edgeseg eval`: scores a model on pictures with masks, at each picture's own size. No torch."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "score a model on a folder of pictures and masks"
EXAMPLE = "edgeseg eval --model person --data ../shared/data/portraits-eg1800 --split test --json eval.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `eval`."""
    from edgeseg.cli.arguments import add_json, add_model, number

    add_model(parser)
    parser.add_argument(
        "--threshold",
        type=number("threshold", 0, 1),
        metavar="P",
        help="the model's own unless given; without it, AP is of every score",
    )
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument("--split", required=True, metavar="NAME", help="train, val, test: what the data set has")
    parser.add_argument(
        "--format", metavar="NAME", help="how masks are meant: labels|instances; recognised unless given"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page with the worst pictures here")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from edgeseg.cli.output import check_target, describe_segmenter, model_line, text_stream, write_json
    from edgeseg.data.evaluate import EvalReport, evaluate
    from edgeseg.data.evaluate_instances import InstanceReport, evaluate_instances
    from edgeseg.data.folder import list_samples
    from edgeseg.errors import UsageError
    from edgeseg.machine import describe
    from edgeseg.runtime.notices import Progress
    from edgeseg.runtime.segmenter import manifest_of, open_segmenter

    check_target(args.json)
    instance = manifest_of(args.model).task == "instance"
    if not instance:
        list_samples(args.data, args.split)  # a wrong folder shows before a model is loaded and measured
    progress = Progress()

    def show(done: int, total: int) -> None:
        progress.show(f"{done} of {total} pictures")

    if instance and args.format is not None:
        raise UsageError("--format is for semantic models", args.format, "Leave it out")
    # Average precision looks at every score.
    threshold = 0.0 if instance and args.threshold is None else args.threshold
    report: EvalReport | InstanceReport
    with open_segmenter(args.model, args.backend, args.precision, args.device, threshold, args.rebuild) as segmenter:
        try:
            if instance:
                counted = segmenter.manifest.threshold if args.threshold is None else args.threshold
                report = evaluate_instances(
                    segmenter, args.data, args.split, show, threshold=counted, report_dir=args.report
                )
            else:
                report = evaluate(segmenter, args.data, args.split, args.format, args.report, show)
        finally:
            progress.clear()
        write_json({**describe_segmenter(segmenter), **report.to_dict(), "machine": describe()}, args.json)
        print(f"{model_line(segmenter)}\n{report.table()}", file=text_stream(args.json))
    return 0
