"""`edgeseg run`: a source through a model into windows, videos, masks and figures."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "segment a clip, a camera or a folder of pictures"
EXAMPLE = """edgeseg run demo --save demo.mp4
  edgeseg run 0 --show                      the first camera, in a window
  edgeseg run 0 --web                       the same in a browser, at http://127.0.0.1:8000/
  edgeseg run cameras.yaml --stats -        cameras: [{source: 0, name: desk}, {source: "rtsp://...", transport: udp}]
  ffmpeg -i clip.mp4 -f rawvideo -pix_fmt nv12 - | edgeseg run - --raw-size 1280x720 --raw-format nv12
  edgeseg run street.mp4 --masks masks/ --jsonl street.jsonl --stats -
  edgeseg run street.mp4 --masks masks.mkv                           lossless, at the source's times
  edgeseg run 0 --background blur --virtual-camera /dev/video10      for video calls
  edgeseg run 0 --save - | ffmpeg -f rawvideo -pixel_format bgr24 -video_size 1280x720 -framerate 30 -i - out.mp4
  edgeseg run 0 --show --max-age-ms 60 --smaller person-landscape
  edgeseg run 0 --record drive/ && edgeseg run replay:drive/      the same masks again, or exit code 5"""
SOURCES = (
    "demo | 0 | /dev/video0 | csi://0 | rtsp://host/path | file.mp4 | folder/ | 'folder/*.jpg' | gst:PIPELINE | "
    "- (raw frames) | synthetic:1280x720@30 | synthetic:1280x720 | replay:DIR | cameras.yaml, which lists "
    "several, each with its options"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    from edgeseg.cli.arguments import across_by_down, add_json, add_model, names, number, one_of, whole

    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    add_model(parser)
    parser.add_argument("--threshold", type=number("threshold", 0, 1), metavar="P", help="the model's own unless given")
    parser.add_argument("--classes", type=names, metavar="A,B", help="only these; others count as background")
    parser.add_argument(
        "--smooth",
        metavar="METHOD[:STRENGTH][+flow][+hold]",
        help="steady the masks over time: steady (measured best) or exponential|uncertainty, strength 0 to "
        "1; two-class models only (off unless given)",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="a window; space pauses, + - change the overlay, 1 to 9 and 0 the classes, b the background, q or Escape "
        "ends",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="OUT.mp4",
        help="an H.264 video with the labels drawn in; for days .mkv, as an MP4's index stays in memory to its end; - "
        "writes raw frames (bgr24) to standard output",
    )
    parser.add_argument(
        "--background",
        metavar="B",
        help="blur, blur:STRENGTH (0 to 1), '#rrggbb' or a picture, in place of the overlay: in video, raw frames, "
        "window and virtual camera",
    )
    parser.add_argument("--virtual-camera", type=Path, metavar="DEVICE", help="a v4l2loopback device to write into")
    parser.add_argument(
        "--masks",
        type=Path,
        metavar="DIR|OUT.mkv",
        help="label maps, the class id as value: one 8-bit PNG a frame, or a lossless video (FFV1)",
    )
    parser.add_argument("--jsonl", metavar="OUT.jsonl", help="one line of JSON a result; - is standard output")
    parser.add_argument(
        "--jsonl-shapes",
        type=one_of("kind of shape", ("rle", "polygon")),
        metavar="rle|polygon",
        help="write areas of classes, too, as COCO does (rle of instances alone unless given)",
    )
    parser.add_argument("--shm", metavar="NAME", help="label maps in POSIX shared memory (docs/shared_memory.md)")
    parser.add_argument(
        "--ros", metavar="PREFIX", help="ROS 2 topics /PREFIX/label_map and /PREFIX/label_info, with ROS or without"
    )
    parser.add_argument("--ros-frame-id", default="camera", metavar="ID", help="frame_id of their messages (camera)")
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep the run bit for bit, for run replay:DIR")
    parser.add_argument(
        "--web",
        nargs="?",
        const="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="a page with live pictures, switches and charts (127.0.0.1:8000); where other machines reach it, it wants "
        "a token: $EDGESEG_WEB_TOKEN, or one that is printed",
    )
    parser.add_argument(
        "--policy",
        type=one_of("policy", ("newest", "all")),
        metavar="newest|all",
        help="drop what is older than the newest frame, or wait (default: cameras drop, files wait)",
    )
    parser.add_argument(
        "--max-age-ms",
        type=number("budget for the age of results", 1),
        metavar="MS",
        help="of cameras: how old results may be (95 of 100), from capture to output; where they get older, smaller "
        "models run (--smaller), then frames are skipped, until there is room again (docs/budget.md)",
    )
    parser.add_argument(
        "--smaller",
        action="append",
        metavar="NAME|FILE",
        help="a smaller model of the same classes for --max-age-ms; may be given again, with a still smaller one",
    )
    parser.add_argument("--max-frames", type=whole("number of frames", 1), metavar="N", help="the source stops after N")
    add_json(parser, "--stats")
    several = parser.add_argument_group("several sources")
    several.add_argument(
        "--batch",
        default=1,
        type=whole("batch", 1),
        metavar="N",
        help="pictures that may go through the model together (1)",
    )
    several.add_argument(
        "--batch-deadline-ms",
        default=5,
        type=number("deadline", 0),
        metavar="MS",
        help="how long one may wait for others (5)",
    )
    live = parser.add_argument_group("cameras")
    live.add_argument("--transport", default="tcp", metavar="tcp|udp", help="of RTSP (tcp)")
    live.add_argument(
        "--decode",
        default="auto",
        metavar="auto|hardware|software",
        help="auto: streams in hardware where there is any, files in software",
    )
    seconds = number("time", 0.001)
    for name, default, text in (
        ("open", 10, "for the first picture"),
        ("stall", 5, "without a picture until it counts as lost"),
    ):
        live.add_argument(f"--{name}-timeout-s", default=default, type=seconds, metavar="S", help=f"{text} ({default})")
    live.add_argument(
        "--retry-s", default=1, type=seconds, metavar="S", help="longest pause between tries to connect again (1)"
    )
    raw = parser.add_argument_group("raw frames on standard input (source -)")
    raw.add_argument("--raw-size", type=across_by_down, metavar="WIDTHxHEIGHT", help="pixels; needed")
    raw.add_argument(
        "--raw-format", default="bgr24", metavar="F", help="as FFmpeg names them: nv12, yuyv422 ... (bgr24)"
    )
    raw.add_argument("--raw-fps", default=30, type=seconds, metavar="N", help="frames a second, for timestamps (30)")


def handle(args: argparse.Namespace) -> int:
    """Run the sources to their end, or to the first signal."""
    import contextlib

    from edgeseg.cli import budgeting, cameras, replaying, run_conflicts, run_report, running
    from edgeseg.cli.output import check_target, model_line, text_stream, write_json
    from edgeseg.errors import EdgeSegError
    from edgeseg.runtime.segmenter import open_segmenter
    from edgeseg.runtime.streams import Streams

    replaying.take_settings(args)
    args.sources = cameras.expand(args.sources, args, running.raw_format(args))
    run_conflicts.check_options(args)
    check_target(args.stats)
    stream = text_stream("-" if "-" in (args.stats, args.jsonl, str(args.save)) else None)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(running.Signals())
        page = running.open_page(args, stack)
        sources = [stack.enter_context(camera.open()) for camera in args.sources]
        budgeting.check(args, sources)
        segmenter = stack.enter_context(
            open_segmenter(
                args.model,
                args.backend,
                args.precision,
                args.device,
                args.threshold,
                args.rebuild,
                # A single source has nobody to wait for.
                min(args.batch, len(args.sources)),
                args.batch_deadline_ms,
            )
        )
        segmenters = [segmenter, *budgeting.open_smaller(args, segmenter, stack)]
        pipelines, sinks, tapes = running.make_pipelines(args, sources, segmenters, stack, page)
        runs = pipelines[0] if len(pipelines) == 1 else Streams(pipelines)
        for each in segmenters:
            print(model_line(each), file=stream, flush=True)
        if page is not None:
            print(f"web page at {page.url}", file=stream, flush=True)
        failure: EdgeSegError | None = None
        try:
            running.supervise(runs, sinks, signals)
        except EdgeSegError as error:  # the figures of what was done are wanted all the same
            failure = error
        replaying.finish(tapes, pipelines, failure)
    figures = runs.stats.to_dict()
    report = {**run_report.stats_report(figures, sources, segmenter, sinks), **replaying.reports(tapes)}
    write_json(report, args.stats)
    if failure is not None:
        raise failure
    for source, own in zip(sources, figures.get("streams", [figures]), strict=True):
        run_report.check_source(source, own)
    print(run_report.summary(report, args), file=stream)
    for line in replaying.judge(tapes):
        print(line, file=stream)
    return 0
