"""`edgeseg build`: an ONNX file as a TensorRT or TensorRT-RTX engine, with a manifest beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "build an engine from an ONNX file"
EXAMPLE = "edgeseg build model.int8.onnx -o model.engine --backend tensorrt-rtx"

# Beyond it, which no device has room for, sizes overflow inside the libraries.
_MOST_MIB = 1 << 20
_TIMING_SUFFIXES = (".cache", ".timing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `build`."""
    from edgeseg.cli.arguments import MOST_PICTURES, add_json, names, one_of, size_range, whole

    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="by edgeseg export or edgeseg quantize")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT.engine", help="the file to write")
    parser.add_argument(
        "--backend",
        default="tensorrt",
        type=one_of("backend that builds engines", ("tensorrt", "tensorrt-rtx")),
        metavar="NAME",
        help="tensorrt|tensorrt-rtx (default tensorrt); the latter builds without a GPU",
    )
    parser.add_argument(
        "--precision",
        type=one_of("precision", ("fp32", "fp16", "int8")),
        metavar="P",
        help="fp32|fp16|int8; as the file is typed unless given",
    )
    parser.add_argument(
        "--plugin", type=Path, metavar="LIB", help="edgeseg's plugin library, for tensorrt; auto finds it"
    )
    parser.add_argument("--keep-float", type=names, default=(), metavar="A,B", help="nodes that stay in FP32")
    parser.add_argument(
        "--workspace-mb", type=whole("workspace", 1, _MOST_MIB), metavar="N", help="largest scratch memory, MiB"
    )
    parser.add_argument(
        "--max-batch", type=whole("batch", 1, MOST_PICTURES), default=1, metavar="N", help="pictures at once, at most"
    )
    parser.add_argument(
        "--sizes",
        type=size_range,
        metavar="HxW,HxW",
        help="smallest and largest size, of a file by export --dynamic-size; the file's usual size alone unless given",
    )
    parser.add_argument(
        "--timing-cache", type=Path, metavar="NAME.cache", help="what the builder measured, kept for later"
    )
    add_json(parser)


def handle(args: argparse.Namespace) -> int:
    """Build with a progress line."""
    from edgeseg.cli.output import check_target, text_stream, write_json
    from edgeseg.errors import UsageError
    from edgeseg.export.build_engine import build_engine
    from edgeseg.manifest import ENGINE_SUFFIX, beside
    from edgeseg.runtime.backends.engine_log import device_bytes
    from edgeseg.runtime.notices import Progress

    if args.out.suffix != ENGINE_SUFFIX:
        raise UsageError("no engine's file name", args.out, f"Give NAME{ENGINE_SUFFIX}")
    # It is read whatever it holds, and then replaced: a file of another kind must not be.
    if args.timing_cache and args.timing_cache.suffix not in _TIMING_SUFFIXES:
        raise UsageError("no timing cache's file name", args.timing_cache, f"Give NAME{_TIMING_SUFFIXES[0]}")
    for target in (args.out, beside(args.out), args.timing_cache, args.json):
        check_target(target, args.model, args.plugin)
    plugin = found_plugin(args.plugin)
    progress = Progress()
    try:
        manifest = build_engine(
            args.model,
            args.out,
            args.backend,
            args.precision,
            plugin,
            args.workspace_mb or 0,
            (1, 1, args.max_batch),
            args.timing_cache,
            tuple(args.keep_float),
            lambda phase, done, total: progress.show(f"{phase}: {done} of {total}"),
            sizes=args.sizes,
        )
    finally:
        progress.clear()
    engine = {key: value for key, value in manifest.origin["engine"].items() if not key.startswith("golden")}
    write_json({"file": str(args.out), **engine}, args.json)
    needed = device_bytes(engine)
    memory = "" if needed is None else f", {needed / 1e6:.1f} MB on the device"
    print(
        f"{args.out}: {engine['library']} {engine['version']}, {engine['precision']}, {engine['layers']} layers, "
        f"{engine['bytes'] / 1e6:.2f} MB in {engine['build_seconds']:.1f} s, for compute capability "
        f"{engine['compute_capability']}{memory}",
        file=text_stream(args.json),
    )
    return 0


def found_plugin(named: Path | None) -> Path | None:
    """The library that `--plugin` means.

    Raises:
        InputError: `auto`, and there is none.
    """
    from edgeseg.errors import InputError
    from edgeseg.runtime.backends.plugin_library import LIBRARY, find_library

    if named != Path("auto"):
        return named
    found = find_library()
    if found is None:
        raise InputError("no plugin library", LIBRARY, "Build it (make ext), give its path, or leave --plugin out")
    return found
