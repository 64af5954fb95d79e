"""`edgeseg calibrate`: the ranges of a model's activations on real frames, which int8 needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.calib.frames import Frames
    from edgeseg.calib.ranges import Ranges
    from edgeseg.runtime.sources import Source

HELP = "note the ranges of a model's activations on real frames"
EXAMPLE = """edgeseg calibrate model.onnx --frames ../shared/data/portraits-eg1800 --split train -o ranges.json
  edgeseg calibrate model.onnx --frames 0 --stride 30 --count 60 -o ranges.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `calibrate`."""
    from edgeseg.cli.arguments import one_of, whole

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="an fp32 file")
    parser.add_argument(
        "--frames",
        required=True,
        metavar="SOURCE",
        help="pictures like the camera's: a folder, a clip, demo, or the camera itself (0, rtsp://...)",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="RANGES.json", help="the table to write")
    parser.add_argument(
        "--method",
        type=one_of("calibration method", ("minmax", "moving-average", "percentile", "entropy", "mse")),
        metavar="METHOD",
        help="minmax|moving-average|percentile|entropy|mse (default mse)",
    )
    parser.add_argument("--split", metavar="NAME", help="only the pictures of this split of a data set")
    for name, default, text in (
        ("stride", 1, "every Nth picture; of a camera about its rate, since neighbouring frames say the same"),
        ("count", 128, "at most N, drawn from all; of a camera the first N (default 128)"),
    ):
        parser.add_argument(f"--{name}", type=whole(name, 1), default=default, metavar="N", help=text)
    parser.add_argument("--seed", type=int, metavar="N", help="of the draw among more pictures than that (default 0)")
    parser.add_argument(
        "--drawn", action="store_true", help="take synthetic:640x480@30 too, to try things out: no use for a camera"
    )


def handle(args: argparse.Namespace) -> int:
    """Calibrate with a progress line."""
    from edgeseg.calib.calibrate import DEFAULT_METHOD, calibrate
    from edgeseg.cli.output import check_target
    from edgeseg.runtime.notices import Progress, warn

    check_target(args.out, args.model, Path(args.frames))
    source = open_running(args.frames)
    progress = Progress()

    def observe(frames: Frames) -> Ranges:
        def show(number: int) -> None:
            progress.show(f"{number} of at most {args.count} pictures")

        try:
            return calibrate(args.model, frames, args.method or DEFAULT_METHOD, args.out, show)
        finally:
            progress.clear()

    ranges = observe_files(args, observe) if source is None else observe_source(args, source, observe)
    hashes = ranges.frames["sha256"]
    if len(hashes) > 1 and len(set(hashes)) == 1:
        warn(f"all {len(hashes)} pictures are the same one: ranges need different ones")
    if ranges.frames.get("drawn"):
        warn("the ranges are those of drawn pictures: a camera's will be others")
    print(
        f"{args.out}: {len(ranges.tensors)} ranges by {ranges.method} of {ranges.frames['count']} pictures; "
        f"next: edgeseg quantize {args.model} --ranges {args.out} -o model.int8.onnx"
    )
    return 0


def open_running(word: str) -> Source | None:
    """The source of `edgeseg run` that a word names, where it has no end; None for files, which are drawn from."""
    from edgeseg.runtime.sources import Synthetic, open_source

    if word == "demo" or Path(word).is_file() or Path(word).is_dir():
        return None
    source = open_source(word)
    is_drawn = isinstance(source, Synthetic)
    if source.live or is_drawn:
        return source
    source.close()
    return None


def observe_files(args: argparse.Namespace, observe: Callable[[Frames], Ranges]) -> Ranges:
    """Ranges of a folder's or clip's pictures."""
    from edgeseg.calib.frames import FrameSet
    from edgeseg.errors import UsageError
    from edgeseg.runtime.sources import DEMO_CLIP

    if args.drawn:
        raise UsageError("--drawn is for synthetic sources", args.frames, "Leave it out")
    path = DEMO_CLIP if args.frames == "demo" else Path(args.frames)
    return observe(FrameSet(path, args.split, args.stride, args.count, args.seed or 0))


def observe_source(args: argparse.Namespace, source: Source, observe: Callable[[Frames], Ranges]) -> Ranges:
    """Ranges of a running source's pictures; a signal ends it early, and those that were seen count."""
    from edgeseg.calib.live import LiveFrames
    from edgeseg.cli.running import Signals
    from edgeseg.errors import InputError, UsageError
    from edgeseg.runtime.notices import warn

    with source:
        for option, value in (("--split", args.split), ("--seed", args.seed)):
            if value is not None:
                raise UsageError(f"{option} is for files", f"{source.name} runs on", "Leave it out")
        frames = LiveFrames(source, args.stride, args.count, args.drawn)
        with Signals(then=source.close) as signals:
            try:
                ranges = observe(frames)
            except InputError:
                if signals.stopped.is_set():
                    raise KeyboardInterrupt from None
                raise
        if signals.stopped.is_set():
            warn(f"stopped by a signal: the ranges are of {ranges.frames['count']} pictures")
        return ranges
