"""`edgeseg quantize`: an fp32 file and its ranges as one int8 file, and what that costs in accuracy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HELP = "write the int8 file of an fp32 file and its ranges"
EXAMPLE = "edgeseg quantize model.onnx --ranges ranges.json -o model.int8.onnx --max-drop 0.5 --data DIR --split val"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `quantize`."""
    from edgeseg.cli.arguments import add_json, names, number

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="the fp32 file that was calibrated")
    parser.add_argument("--ranges", required=True, type=Path, metavar="RANGES.json", help="by edgeseg calibrate")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--keep-float", type=names, default=(), metavar="A,B", help="nodes that stay in float")
    parser.add_argument("--frames", type=Path, metavar="DIR|CLIP", help="pictures to correct the biases on")
    parser.add_argument(
        "--max-drop",
        type=number("drop", 0, 100),
        metavar="POINTS",
        help="measure on --data, and end with exit code 5 if more points of IoU are lost",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="pictures and masks to measure the drop on")
    parser.add_argument("--split", default="val", metavar="NAME", help="of that data (default val)")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Quantize, and measure where asked to."""
    import dataclasses

    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.errors import LimitError, UsageError
    from edgeseg.export.quantize import quantize
    from edgeseg.runtime.segmenter import manifest_of

    if (args.max_drop is None) != (args.data is None):
        missing = "--data" if args.data is None else "--max-drop"
        raise UsageError("--max-drop and --data belong together, missing is", missing, "Give both or neither")
    if args.frames and manifest_of(args.model).task == "instance":
        todo = "Leave --frames out: what lies behind the regions has other means in int8 than in float"
        raise UsageError("biases of instance models are not corrected", args.model, todo)
    check_target(args.out)
    check_target(args.json)
    stream = text_stream(args.json)
    pictures = correction_pictures(args.model, args.frames) if args.frames else ()
    result = quantize(args.model, args.ranges, args.out, args.keep_float, pictures=pictures)
    figures = {"file": str(args.out), "size_bytes": args.out.stat().st_size, **dataclasses.asdict(result)}
    print(
        f"{args.out}: {len(result.int8)} nodes in int8, {len(result.kept_float)} in float, "
        f"{figures['size_bytes'] / 1e6:.2f} MB",
        file=stream,
    )
    if args.data is not None:
        scores = [score(path, args.data, args.split) for path in (args.model, args.out)]
        drop = 100 * (scores[0] - scores[1])
        figures |= {"score_fp32": scores[0], "score_int8": scores[1], "drop_points": drop}
        print(f"fp32 {scores[0]:.4f}, int8 {scores[1]:.4f}: {drop:.2f} points lost", file=stream)
    write_json(figures, args.json)
    if args.data is not None and drop > args.max_drop:
        todo = "Calibrate on more or other frames, or keep nodes in float with --keep-float"
        raise LimitError(f"int8 loses more than {args.max_drop:g} points", f"{drop:.2f}", todo)
    return 0


def correction_pictures(model: Path, source: Path) -> list[npt.NDArray[np.uint8]]:
    """Inputs made of at most 64 pictures of a folder or clip."""
    from edgeseg.calib.frames import FrameSet
    from edgeseg.calib.model_file import read_float_model

    _, manifest = read_float_model(model)
    return [image for image, _ in FrameSet(source, count=64).inputs(manifest)]


def score(model: Path, data: Path, split: str) -> float:
    """What the model is judged by, by ONNX Runtime.

    Foreground IoU (mean over pictures) of two classes, else mIoU; mask AP of an instance model.
    """
    from edgeseg.data.evaluate import evaluate
    from edgeseg.data.evaluate_instances import evaluate_instances
    from edgeseg.runtime.segmenter import manifest_of, open_segmenter

    if manifest_of(model).task == "instance":
        with open_segmenter(model, backend="onnxruntime", threshold=0.0) as segmenter:
            return evaluate_instances(segmenter, data, split).mask["ap"]
    with open_segmenter(model, backend="onnxruntime") as segmenter:
        names = segmenter.manifest.class_names
        figures = evaluate(segmenter, data, split).to_dict()
    return float(figures[f"{names[1]}_iou_mean_over_images" if len(names) == 2 else "miou"])
