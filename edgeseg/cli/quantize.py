"""`edgeseg quantize`: an fp32 file and its ranges as one int8 file, and what that costs in accuracy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeseg.export.quantize import Quantized
    from edgeseg.export.sensitivity import Limited

HELP = "write the int8 file of an fp32 file and its ranges"
EXAMPLE = "edgeseg quantize model.onnx --ranges ranges.json -o model.int8.onnx --max-drop 0.5 --data DIR --split val"
# Pictures of the split on which each layer is measured by itself.
SWEPT_ON = 64


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
        help="measure on --data; leave the costliest layers in float until no more is lost, or exit code 5",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="pictures and masks to measure the drop on")
    parser.add_argument("--split", default="val", metavar="NAME", help="of that data (default val)")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Quantize, and measure where asked to."""
    import dataclasses

    from edgeseg.calib.ranges import Ranges
    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.errors import LimitError, UsageError
    from edgeseg.export.quantize import quantize
    from edgeseg.runtime.notices import warn
    from edgeseg.runtime.segmenter import manifest_of

    if (args.max_drop is None) != (args.data is None):
        missing = "--data" if args.data is None else "--max-drop"
        raise UsageError("--max-drop and --data belong together, missing is", missing, "Give both or neither")
    if args.frames and manifest_of(args.model).task == "instance":
        todo = "Leave --frames out: what lies behind the regions has other means in int8 than in float"
        raise UsageError("biases of instance models are not corrected", args.model, todo)
    check_target(args.out)
    check_target(args.json)
    if Ranges.load(args.ranges).frames.get("drawn"):
        warn("the ranges are those of drawn pictures: a camera's will be others")
    pictures = correction_pictures(args.model, args.frames) if args.frames else ()

    def make(more: Collection[str]) -> Quantized:
        return quantize(args.model, args.ranges, args.out, [*args.keep_float, *more], pictures=pictures)

    limited = hold_limit(args, make) if args.data is not None else None
    result = limited.made if limited else make(())
    figures = {"file": str(args.out), "size_bytes": args.out.stat().st_size, **dataclasses.asdict(result)}
    lines = [
        f"{args.out}: {len(result.int8)} nodes in int8, {len(result.kept_float)} in float, "
        f"{figures['size_bytes'] / 1e6:.2f} MB"
    ]
    if limited:
        fp32, int8, drop = limited.score_fp32, limited.score_int8, limited.drop_points
        figures |= {"score_fp32": fp32, "score_int8": int8, "drop_points": drop}
        figures |= {"layers": [dataclasses.asdict(item) for item in limited.layers]}
        lines.append(f"fp32 {fp32:.4f}, int8 {int8:.4f}: {drop:.2f} points lost")
        lines += [layer_table(limited)] if limited.layers else []
    write_json(figures, args.json)
    print("\n".join(lines), file=text_stream(args.json))
    if limited and limited.drop_points > args.max_drop:
        todo = "Calibrate on more or other frames, or train on rounded values (int8_from in the recipe)"
        raise LimitError(f"int8 loses more than {args.max_drop:g} points", f"{limited.drop_points:.2f}", todo)
    return 0


def hold_limit(args: argparse.Namespace, make: Callable[[Collection[str]], Quantized]) -> Limited:
    """Quantize until the limit holds; see `edgeseg.export.sensitivity.limit_drop`."""
    from functools import partial

    from edgeseg.calib.ranges import Ranges
    from edgeseg.export.sensitivity import LayerDrop, fingerprint, limit_drop, sweep_layers
    from edgeseg.runtime.notices import Progress

    progress = Progress()

    def sweep(layers: Sequence[str]) -> list[LayerDrop]:
        quick = partial(score, data=args.data, split=args.split, count=SWEPT_ON)
        return sweep_layers(
            args.model,
            Ranges.load(args.ranges),
            layers,
            quick,
            fingerprint(args.data, args.split, SWEPT_ON),
            args.keep_float,
            lambda done, total: progress.show(f"sweep: {done} of {total} layers"),
        )

    try:
        measure = partial(score, data=args.data, split=args.split)
        return limit_drop(args.model, args.out, make, measure, args.max_drop, sweep)
    finally:
        progress.clear()


def layer_table(limited: Limited) -> str:
    """What each layer costs, and whether it stays in float."""
    from edgeseg.cli.output import table

    rows = [
        [item.layer, f"{item.drop_points:+.3f}", "float" if item.layer in limited.kept else "int8"]
        for item in limited.layers
    ]
    return table(["layer", "points lost with it alone in int8", "kept in"], rows)


def correction_pictures(model: Path, source: Path) -> list[npt.NDArray[np.uint8]]:
    """Inputs made of at most 64 pictures of a folder or clip."""
    from edgeseg.calib.frames import FrameSet
    from edgeseg.calib.model_file import read_float_model

    _, manifest = read_float_model(model)
    return [image for image, _ in FrameSet(source, count=64).inputs(manifest)]


def score(model: Path, data: Path, split: str, count: int | None = None) -> float:
    """What the model is judged by, by ONNX Runtime, on all pictures of a split or on at most `count`.

    Foreground IoU (mean over pictures) of two classes, else mIoU; mask AP of an instance model.
    """
    from edgeseg.data.evaluate import evaluate
    from edgeseg.data.evaluate_instances import evaluate_instances
    from edgeseg.runtime.segmenter import manifest_of, open_segmenter

    if manifest_of(model).task == "instance":
        with open_segmenter(model, backend="onnxruntime", threshold=0.0) as segmenter:
            return evaluate_instances(segmenter, data, split, count=count).mask["ap"]
    with open_segmenter(model, backend="onnxruntime") as segmenter:
        names = segmenter.manifest.class_names
        figures = evaluate(segmenter, data, split, count=count).to_dict()
    return float(figures[f"{names[1]}_iou_mean_over_images" if len(names) == 2 else "miou"])
