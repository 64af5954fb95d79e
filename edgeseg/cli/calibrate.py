"""`edgeseg calibrate`: the ranges of a model's activations on real frames, which int8 needs."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "note the ranges of a model's activations on real frames"
EXAMPLE = "edgeseg calibrate model.onnx --frames ../shared/data/portraits-eg1800 --split train -o ranges.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `calibrate`."""
    from edgeseg.cli.arguments import one_of, whole

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="an fp32 file")
    parser.add_argument("--frames", required=True, type=Path, metavar="DIR|CLIP", help="pictures like the camera's")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="RANGES.json", help="the table to write")
    parser.add_argument(
        "--method",
        type=one_of("calibration method", ("minmax", "moving-average", "percentile", "entropy", "mse")),
        metavar="METHOD",
        help="minmax|moving-average|percentile|entropy|mse (default mse)",
    )
    parser.add_argument("--split", metavar="NAME", help="only the pictures of this split of a data set")
    parser.add_argument("--stride", type=whole("stride", 1), default=1, metavar="N", help="every Nth picture")
    parser.add_argument("--count", type=whole("count", 1), default=128, metavar="N", help="at most N (default 128)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw among more pictures than that")


def handle(args: argparse.Namespace) -> int:
    """Calibrate with a progress line."""
    from edgeseg.calib.calibrate import DEFAULT_METHOD, calibrate
    from edgeseg.calib.frames import FrameSet
    from edgeseg.cli.output import check_target
    from edgeseg.runtime.notices import Progress

    check_target(args.out)
    frames = FrameSet(args.frames, args.split, args.stride, args.count, args.seed)
    progress = Progress()
    try:
        ranges = calibrate(
            args.model,
            frames,
            args.method or DEFAULT_METHOD,
            args.out,
            lambda number: progress.show(f"{number} of at most {args.count} pictures"),
        )
    finally:
        progress.clear()
    print(
        f"{args.out}: {len(ranges.tensors)} ranges by {ranges.method} of {ranges.frames['count']} pictures; "
        f"next: edgeseg quantize {args.model} --ranges {args.out} -o model.int8.onnx"
    )
    return 0
