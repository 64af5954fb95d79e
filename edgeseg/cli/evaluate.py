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
    parser.add_argument("--threshold", type=number("threshold", 0, 1), metavar="P", help="the model's own unless given")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument("--split", required=True, metavar="NAME", help="train, val, test: what the data set has")
    parser.add_argument(
        "--format", metavar="NAME", help="how masks are meant: labels|instances; recognised unless given"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page with the worst pictures here")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from edgeseg.cli.output import Progress, check_target, describe_segmenter, model_line, text_stream, write_json
    from edgeseg.data.evaluate import evaluate
    from edgeseg.data.folder import list_samples
    from edgeseg.machine import describe
    from edgeseg.runtime.segmenter import open_segmenter

    check_target(args.json)
    list_samples(args.data, args.split)  # a wrong folder shows before a model is loaded and measured
    progress = Progress()
    with open_segmenter(args.model, args.backend, args.precision, args.device, args.threshold) as segmenter:
        try:
            report = evaluate(
                segmenter,
                args.data,
                args.split,
                args.format,
                args.report,
                lambda done, total: progress.show(f"{done} of {total} pictures"),
            )
        finally:
            progress.clear()
        write_json({**describe_segmenter(segmenter), **report.to_dict(), "machine": describe()}, args.json)
        print(f"{model_line(segmenter)}\n{report.table()}", file=text_stream(args.json))
    return 0
