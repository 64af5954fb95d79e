"""`edgeseg bench`: how fast a model runs here, engine alone and end to end, on each backend."""

from __future__ import annotations

import argparse

HELP = "time a model on the backends of this machine"
EXAMPLE = """edgeseg bench --model person --backend all --json bench.json
  edgeseg bench --model person --require 'throughput_fps>=60'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    from edgeseg.cli.arguments import add_json, add_model, number, whole

    add_model(parser, every=True)
    parser.add_argument(
        "--source", default="synthetic:1280x720", metavar="SOURCE", help="frames for the end-to-end part"
    )
    parser.add_argument("--require", action="append", default=[], metavar="KEY>=VALUE", help="exit code 5 if missed")
    parser.add_argument(
        "--samples", type=whole("number of samples", 1), metavar="N", help="timed calls of each, at least"
    )
    parser.add_argument("--warmup", type=whole("number of calls", 1), metavar="N", help="calls before those that count")
    parser.add_argument(
        "--seconds", type=number("duration", 0.1), metavar="S", help="measure so long (default 15 a pair, at least 30)"
    )
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Measure, print the table, then hold the figures against the limits."""
    from edgeseg.bench import Plan, check_requirements, parse_requirements, run_bench
    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.runtime.notices import Progress

    limits = parse_requirements(args.require)
    check_target(args.json)
    progress = Progress()
    try:
        report = run_bench(
            args.model,
            args.backend,
            args.precision,
            args.source,
            samples=args.samples,
            warmup=args.warmup,
            device=args.device,
            plan=Plan(seconds=args.seconds) if args.seconds else None,
            tell=progress.show,
        )
    finally:
        progress.clear()
    write_json(report.to_dict(), args.json)
    print(report.table(), file=text_stream(args.json))
    check_requirements(report, limits)
    return 0
