"""`edgeseg run`: a source through a model into windows, videos, masks and figures."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "segment a clip, a camera or a folder of pictures"
EXAMPLE = """edgeseg run demo --save demo.mp4
  edgeseg run 0 --show                      the first camera, in a window
  edgeseg run street.mp4 --masks masks/ --jsonl street.jsonl --stats -"""
SOURCES = (
    "demo | 0 | /dev/video0 | rtsp://host/path | file.mp4 | folder/ | 'folder/*.jpg' | synthetic:1280x720@30 | "
    "synthetic:1280x720"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    from edgeseg.cli.arguments import add_json, add_model, names, not_yet, number, one_of, whole

    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    add_model(parser)
    parser.add_argument("--threshold", type=number("threshold", 0, 1), metavar="P", help="the model's own unless given")
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these; others count as background")
    parser.add_argument(
        "--smooth",
        metavar="METHOD[:STRENGTH]",
        help="steady the masks over time: exponential|uncertainty, strength 0 to 1 (off unless given)",
    )
    parser.add_argument("--show", action="store_true", help="a window; q or Escape ends")
    parser.add_argument("--save", type=Path, metavar="OUT.mp4", help="an H.264 video with the labels drawn in")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="one 8-bit PNG a frame, the class id as value")
    parser.add_argument("--jsonl", metavar="OUT.jsonl", help="one line of JSON a result; - is standard output")
    parser.add_argument("--web", action=not_yet("--web"), metavar="HOST:PORT", help="not in this version")
    parser.add_argument(
        "--policy",
        type=one_of("policy", ("newest", "all")),
        metavar="newest|all",
        help="drop what is older than the newest frame, or wait (default: cameras drop, files wait)",
    )
    parser.add_argument("--max-frames", type=whole("number of frames", 1), metavar="N", help="the source stops after N")
    add_json(parser, "--stats")
    live = parser.add_argument_group("cameras")
    live.add_argument("--transport", default="tcp", metavar="tcp|udp", help="of RTSP (tcp)")
    seconds = number("time", 0.001)
    for name, default, text in (
        ("open", 10, "for the first picture"),
        ("stall", 5, "without a picture until it counts as lost"),
    ):
        live.add_argument(f"--{name}-timeout-s", default=default, type=seconds, metavar="S", help=f"{text} ({default})")
    live.add_argument(
        "--retry-s", default=1, type=seconds, metavar="S", help="longest pause between tries to connect again (1)"
    )


def handle(args: argparse.Namespace) -> int:
    """Run the sources to their end, or to the first signal."""
    import contextlib

    from edgeseg.cli import run_report, running
    from edgeseg.cli.output import check_target, model_line, text_stream, write_json
    from edgeseg.errors import EdgeSegError
    from edgeseg.runtime.segmenter import open_segmenter
    from edgeseg.runtime.sources import StreamOptions, open_source
    from edgeseg.runtime.sources.resilient import Patience
    from edgeseg.runtime.streams import Streams

    running.check_options(args)
    check_target(args.stats)
    stream = text_stream("-" if "-" in (args.stats, args.jsonl) else None)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(running.Signals())
        patience = Patience(args.open_timeout_s, args.stall_timeout_s, args.retry_s)
        options = StreamOptions(args.transport, patience)
        sources = [stack.enter_context(open_source(word, args.max_frames, options)) for word in args.sources]
        segmenter = stack.enter_context(
            open_segmenter(args.model, args.backend, args.precision, args.device, args.threshold, args.rebuild)
        )
        pipelines, sinks = running.make_pipelines(args, sources, segmenter, stack)
        runs = pipelines[0] if len(pipelines) == 1 else Streams(pipelines)
        print(model_line(segmenter), file=stream, flush=True)
        failure: EdgeSegError | None = None
        try:
            running.supervise(runs, sinks, signals)
        except EdgeSegError as error:  # the figures of what was done are wanted all the same
            failure = error
    figures = runs.stats.to_dict()
    report = run_report.stats_report(figures, sources, segmenter, sinks)
    write_json(report, args.stats)
    if failure is not None:
        raise failure
    for source, own in zip(sources, figures.get("streams", [figures]), strict=True):
        run_report.check_source(source, own)
    print(run_report.summary(report, args), file=stream)
    return 0
