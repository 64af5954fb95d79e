"""`edgeseg export`: a checkpoint or a shipped model as one ONNX file that takes camera bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a checkpoint or a shipped model as one ONNX file"
EXAMPLE = """edgeseg export runs/person/last.pt -o person.onnx
  edgeseg export person -o person-wide.onnx --size 144x256"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    from edgeseg.cli.arguments import add_json, size

    parser.add_argument("source", metavar="CHECKPOINT|NAME", help="last.pt of a run, or a shipped model's name")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--size", type=size, metavar="HxW", help="the input's size; the checkpoint's own unless given")
    parser.add_argument("--inline", action="store_true", help="standard operators only, no function for the fused step")
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Export, compare with torch, say how close the two are."""
    import dataclasses

    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.export.from_checkpoint import load_for_export
    from edgeseg.export.to_onnx import export_onnx

    check_target(args.out)
    check_target(args.json)
    model, manifest = load_for_export(args.source, args.size)
    report = export_onnx(model, manifest, args.out, args.inline)
    size_bytes = args.out.stat().st_size
    figures = {"file": str(args.out), "size_bytes": size_bytes, "against_torch": dataclasses.asdict(report)}
    write_json(figures, args.json)
    apart = "" if manifest.task == "instance" else f", at most {report.max_levels} of 255 apart"
    agreed = f"{report.detections} detections" if manifest.task == "instance" else "the labels"
    print(
        f"{args.out}: {manifest.name}, {manifest.height}x{manifest.width}, {size_bytes / 1e6:.2f} MB; against torch "
        f"{report.label_agreement:.2%} of {agreed} agree{apart}",
        file=text_stream(args.json),
    )
    return 0
