"""`edgeseg export`: a checkpoint or a shipped model as one ONNX file that takes camera bytes, or served by Triton."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "write a checkpoint or a shipped model as one ONNX file, or as a Triton model repository"
EXAMPLE = """edgeseg export runs/person/last.pt -o person.onnx
  edgeseg export person -o person-wide.onnx --size 144x256
  edgeseg export person -o person-any.onnx --dynamic-size --batch 1
  edgeseg export person --triton models --deepstream deepstream"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    from edgeseg.cli.arguments import add_json, batch, one_of, size, whole

    parser.add_argument(
        "source",
        metavar="CHECKPOINT|NAME|FILE",
        help="last.pt of a run, a shipped model's name, or a file; an .engine for --triton",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--size", type=size, metavar="HxW", help="the input's size; the checkpoint's own unless given")
    parser.add_argument(
        "--batch", type=batch, metavar="N|dynamic", help="pictures in each call; dynamic, any number, unless given"
    )
    parser.add_argument(
        "--dynamic-size",
        action="store_true",
        help="leave height and width open, multiples of the network's stride; edgeseg itself runs the file at --size",
    )
    parser.add_argument("--inline", action="store_true", help="standard operators only, no function for the fused step")
    parser.add_argument("--triton", type=Path, metavar="DIR", help="put the model into this Triton model repository")
    parser.add_argument(
        "--deepstream", type=Path, metavar="DIR", help="a Gst-nvinferserver configuration over that repository"
    )
    parser.add_argument(
        "--precision",
        type=one_of("precision of a shipped file", ("fp32", "int8")),
        metavar="P",
        help="fp32|int8: which of a shipped model's files --triton takes (default fp32)",
    )
    parser.add_argument("--max-batch", type=whole("batch", 1), metavar="N", help="frames Triton may put together")
    parser.add_argument("--name", metavar="NAME", help="the model's name in the repository; its own unless given")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Export where that is asked for, then put the file into the repository."""
    import tempfile

    from edgeseg.cli.output import check_target, text_stream, write_json

    check_options(args)
    for target in (args.out, args.json):
        check_target(target, Path(args.source))
    figures: dict[str, Any] = {}
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        file = None if anew(args) else ready_file(args.source, args.precision)
        if file is None:
            file = args.out or Path(folder) / "model.onnx"
            figures = write_file(args, file, lines)
        if args.triton:
            figures |= serve(args, file, lines)
    write_json(figures, args.json)
    print("\n".join(lines), file=text_stream(args.json))
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together."""
    from edgeseg.errors import UsageError

    if not args.out and not args.triton:
        raise UsageError("nowhere to write", args.source, "Give -o OUT.onnx, --triton DIR or both")
    for option in ("deepstream", "max_batch", "name"):
        value = getattr(args, option)
        if value is not None and not args.triton:
            word = option.replace("_", "-")
            raise UsageError(f"--{word} says something of a Triton repository", value, "Give --triton DIR with it")
    if args.precision and (anew(args) or not args.triton):
        todo = "Leave it out: export writes fp32, edgeseg quantize int8"
        raise UsageError("--precision picks a shipped model's file for --triton", args.precision, todo)


def anew(args: argparse.Namespace) -> bool:
    """Whether an option asks for a file that is not there yet."""
    return bool(args.out or args.size or args.inline or args.batch or args.dynamic_size)


def ready_file(source: str, precision: str | None) -> Path | None:
    """The file that `source` already is, to be served as it is; None for a checkpoint."""
    from edgeseg.errors import UsageError
    from edgeseg.export.from_checkpoint import CHECKPOINT_SUFFIXES
    from edgeseg.runtime.zoo import find_model

    checkpoint = Path(source).suffix in CHECKPOINT_SUFFIXES
    found = None if checkpoint else find_model(source)
    if precision and (found is None or not found.from_zoo):
        raise UsageError("only shipped models have a file for each precision", source, "Leave --precision out")
    if found is None:
        return None
    return found.files["file"] if not found.from_zoo else found.files[precision or "fp32"]


def write_file(args: argparse.Namespace, out: Path, lines: list[str]) -> dict[str, Any]:
    """Export to `out`, compare with torch, say in `lines` how close the two are; the figures for --json."""
    import dataclasses

    from edgeseg.export.from_checkpoint import load_for_export
    from edgeseg.export.shape import Shape, step_of
    from edgeseg.export.to_onnx import export_onnx

    model, manifest = load_for_export(args.source, args.size)
    shape = Shape(args.batch, args.dynamic_size)
    report = export_onnx(model, manifest, out, args.inline, shape)
    size_bytes = out.stat().st_size
    apart = "" if manifest.task == "instance" else f", at most {report.max_levels} of 255 apart"
    agreed = f"{report.detections} detections" if manifest.task == "instance" else "the labels"
    step = step_of(model, manifest)
    sizes = f"any multiple of {step} pixels, usually " if shape.free_size else ""
    sizes += f"{manifest.height}x{manifest.width}"
    lines.append(
        f"{args.out or args.source}: {manifest.name}, {sizes}, {size_bytes / 1e6:.2f} MB; "
        f"against torch {report.label_agreement:.2%} of {agreed} agree{apart}"
    )
    file = {"file": str(args.out)} if args.out else {}
    shapes = {"batch": shape.batch, "size_multiple_px": step if shape.free_size else None}
    return {**file, "size_bytes": size_bytes, **shapes, "against_torch": dataclasses.asdict(report)}


def serve(args: argparse.Namespace, file: Path, lines: list[str]) -> dict[str, Any]:
    """Put `file` into the repository, with a DeepStream configuration where asked for; the figures for --json."""
    from edgeseg.export.triton_repository import describe, write_repository
    from edgeseg.runtime.notices import warn

    served = describe(file, args.triton, args.max_batch, args.name)
    if args.deepstream:
        from edgeseg.export.deepstream import check_fit

        check_fit(served)
    write_repository(served, file)
    batch = f"up to {served.max_batch} frames together" if served.max_batch else "its batch as it is"
    lines.append(
        f"{served.folder}: {served.platform}, {batch}; tritonserver --model-repository={args.triton.resolve()}"
    )
    figures: dict[str, Any] = {
        "triton": {"folder": str(served.folder), "platform": served.platform, "max_batch_size": served.max_batch}
    }
    if args.deepstream:
        from edgeseg.export.deepstream import write_deepstream

        config = write_deepstream(served, args.deepstream)
        lines.append(f"{config}: for nvinferserver; run make in {args.deepstream} first")
        figures["deepstream"] = str(config)
    for note in served.notes:
        warn(note)
    return figures
