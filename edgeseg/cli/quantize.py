"""`edgeseg quantize`: an fp32 file and its ranges as one int8 file, what that costs, and ways to make it cost less."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgeseg.calib.ranges import Ranges
    from edgeseg.export.quantize import Quantized
    from edgeseg.export.sensitivity import Limited

HELP = "write the int8 file of an fp32 file and its ranges"
EXAMPLE = """edgeseg quantize model.onnx --ranges ranges.json -o model.int8.onnx --max-drop 0.5 --data DIR --split val
  edgeseg quantize model.onnx --ranges ranges.json -o model.int8.onnx --qat --data DIR"""
# Pictures of the split on which each layer is measured by itself.
SWEPT_ON = 64
# Pictures, or tiles of them, on which --frames rounds weights and corrects biases.
FITTED_ON = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `quantize`."""
    from edgeseg.cli.arguments import add_json, names, number, whole

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="the fp32 file that was calibrated")
    parser.add_argument("--ranges", required=True, type=Path, metavar="RANGES.json", help="by edgeseg calibrate")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--keep-float", type=names, default=(), metavar="A,B", help="nodes that stay in float")
    parser.add_argument(
        "--frames",
        type=Path,
        metavar="DIR|CLIP",
        help="pictures to round the weights and correct the biases on",
    )
    parser.add_argument(
        "--max-drop",
        type=number("drop", 0, 100),
        metavar="POINTS",
        help="measure on --data; leave the costliest layers in float until no more is lost, or exit code 5",
    )
    parser.add_argument(
        "--qat",
        action="store_true",
        help="train on for a short time on rounded values, on the train split of --data; the ranges stay",
    )
    parser.add_argument("--qat-steps", type=whole("number of steps", 1), metavar="N", help="of --qat (default 300)")
    parser.add_argument("--qat-rate", type=number("rate", 0, 1), metavar="R", help="learning rate (default 0.00005)")
    parser.add_argument("--qat-seed", type=whole("seed", 0), metavar="N", help="of its samples (default 0)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="pictures and masks to measure or train on")
    parser.add_argument("--split", default="val", metavar="NAME", help="of that data, to measure on (default val)")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Quantize; train before and measure after where asked to."""
    import tempfile

    from edgeseg.calib.ranges import Ranges
    from edgeseg.cli.output import check_target
    from edgeseg.runtime.notices import warn

    check_options(args)
    for target in (args.out, args.json):
        check_target(target, args.model, args.ranges)
    ranges = Ranges.load(args.ranges)
    if ranges.frames.get("drawn"):
        warn("the ranges are those of drawn pictures: a camera's will be others")
    if not args.qat:
        return quantize_and_measure(args, args.model, ranges)
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "trained.onnx"
        return quantize_and_measure(args, trained, train_on(args, ranges, trained))


def check_options(args: argparse.Namespace) -> None:
    """UsageError for options that miss or exclude each other."""
    from edgeseg.errors import UsageError
    from edgeseg.export.quantize import NO_PICTURES
    from edgeseg.runtime.segmenter import manifest_of

    if args.qat and args.data is None:
        raise UsageError("--qat learns from pictures and masks, missing is", "--data", "Give the data set's folder")
    if not args.qat:
        for option, value in (("steps", args.qat_steps), ("rate", args.qat_rate), ("seed", args.qat_seed)):
            if value is not None:
                raise UsageError("an option of --qat without it", f"--qat-{option}", "Give both or neither")
        if (args.max_drop is None) != (args.data is None):
            missing = "--data" if args.data is None else "--max-drop"
            raise UsageError("--max-drop and --data belong together, missing is", missing, "Give both or neither")
    if args.qat and args.frames:
        raise UsageError("--qat learns what --frames corrects", "both", "Leave one of them out")
    if args.frames and manifest_of(args.model).task == "instance":
        raise UsageError(NO_PICTURES, args.model, "Leave --frames out")


def train_on(args: argparse.Namespace, ranges: Ranges, out: Path) -> Ranges:
    """Write the fp32 file that was trained for int8; its ranges."""
    from edgeseg.data.folder import list_samples
    from edgeseg.runtime.notices import info
    from edgeseg.train.qat import RATE, STEPS, train_for_int8

    if args.max_drop is not None:
        # What is measured on later must be there: better missed now than after the training.
        list_samples(args.data, args.split)
    steps, rate = args.qat_steps or STEPS, RATE if args.qat_rate is None else args.qat_rate
    info(f"training {args.model} for int8: {steps} steps on {args.data}")
    return train_for_int8(
        args.model, ranges, args.data, out, steps, rate, args.qat_seed or 0, keep_float=args.keep_float
    )


def quantize_and_measure(args: argparse.Namespace, model: Path, ranges: Ranges) -> int:
    """Write the int8 file of `model`, which is the user's or what was trained of it, and say what it costs."""
    import dataclasses

    from edgeseg.cli.output import text_stream, write_json
    from edgeseg.errors import LimitError
    from edgeseg.export.quantize import quantize

    pictures = fitting_pictures(model, args.frames) if args.frames else ()

    def make(more: Collection[str]) -> Quantized:
        return quantize(model, ranges, args.out, [*args.keep_float, *more], pictures=pictures)

    limited = hold_limit(args, make, model, ranges) if args.max_drop is not None else None
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
        todo = "Calibrate on more or other frames, or add --qat"
        if args.qat:
            todo = "Calibrate on more or other frames, or give --qat-steps more"
        raise LimitError(f"int8 loses more than {args.max_drop:g} points", f"{limited.drop_points:.2f}", todo)
    return 0


def hold_limit(
    args: argparse.Namespace, make: Callable[[Collection[str]], Quantized], model: Path, ranges: Ranges
) -> Limited:
    """Quantize until the limit holds, against the user's file; see `edgeseg.export.sensitivity.limit_drop`."""
    from functools import partial

    from edgeseg.export.sensitivity import LayerDrop, fingerprint, limit_drop, sweep_layers
    from edgeseg.runtime.notices import Progress

    progress = Progress()

    def sweep(layers: Sequence[str]) -> list[LayerDrop]:
        quick = partial(score, data=args.data, split=args.split, count=SWEPT_ON)
        return sweep_layers(
            model,
            ranges,
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


def fitting_pictures(model: Path, source: Path) -> list[npt.NDArray[np.uint8]]:
    """Inputs, uint8 [1, H, W, 3] each, made of pictures of a folder or clip, or of their tiles."""
    from edgeseg.calib.frames import FrameSet, some_inputs
    from edgeseg.calib.model_file import read_float_model

    _, manifest = read_float_model(model)
    return some_inputs(FrameSet(source, count=FITTED_ON), manifest, FITTED_ON)


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
