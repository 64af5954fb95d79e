"""Engines of a U-Net with the plugin and with the function body in its place: labels, whole calls, layer by layer.

    python benchmarks/plugin_engines.py [--model person] [--plugin auto] [--calls 200]

Of the model's fp32 file fp16 engines are built, of its int8 file int8 engines, with full TensorRT on this machine's
GPU. Both of a pair get the same frames of the clip that ships: their label maps must be the same on 99.9 % of the
pixels (exit code 5 else), calls go in turn, as the runtime makes them, copies included, and each layer's time is what
TensorRT's own profiler reports. A profiler costs time itself, so the sum of the layers is not a call's time.
Writes benchmarks/results/plugin_engines.json; without a GPU the exit code is 4.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import gpu, tell, write_result
from engine_layers import Layer, ProfiledEngine, side_by_side
from onnx import load_from_string

from edgeseg.calib.frames import FrameSet
from edgeseg.calib.model_file import read_model
from edgeseg.cli.build import found_plugin
from edgeseg.cli.output import table
from edgeseg.errors import BackendError, EdgeSegError
from edgeseg.export.build_engine import build_engine, typed
from edgeseg.export.fused_step import is_step
from edgeseg.runtime.backends.base import first_inputs
from edgeseg.runtime.backends.engine_file import EngineFile, read_engine_file
from edgeseg.runtime.backends.gpu import Gpu, gpu_count, open_gpu
from edgeseg.runtime.backends.tensorrt_backend import open_engine
from edgeseg.runtime.sources import DEMO_CLIP
from edgeseg.runtime.zoo import find_model

Frames = Sequence[npt.NDArray[np.uint8]]
WAYS = ("plugin", "body")
# Of which file an engine is built.
FROM = {"fp16": "fp32", "int8": "int8"}
SAME_LABELS = 0.999
FRAMES = 8


def main() -> int:
    """Build, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME", help="of edgeseg models, with fused steps")
    parser.add_argument("--plugin", default="auto", type=Path, metavar="LIB", help="default: as edgeseg build finds it")
    parser.add_argument("--calls", type=int, default=200, help="timed calls of each engine")
    args = parser.parse_args()
    if args.calls < 1:
        parser.error(f"too few calls: {args.calls}")
    try:
        shipped = find_model(args.model).files
        files = {precision: shipped[key] for precision, key in FROM.items() if key in shipped}
        body = compare(files, args.plugin, args.calls)
    except EdgeSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for row in body["rows"]:
        print(sentences(row))
    print(f"written: {write_result('plugin_engines', {'model': args.model, **body})}")
    return 0 if body["met"] else 5


def compare(files: Mapping[str, Path], plugin: Path, calls: int) -> dict[str, Any]:
    """Both engines of each precision, on the first GPU.

    Args:
        files: the ONNX file for each precision, "fp16" and "int8".
        plugin: the library; `auto` as in `edgeseg build`.
        calls: timed ones, of each engine.

    Raises:
        BackendError: no GPU, or no TensorRT.
        InputError: no plugin library.
        ModelError: an engine cannot be built, or disagrees with ONNX Runtime.
    """
    if gpu_count() == 0:
        todo = "Run it where one is; edgeseg build --backend tensorrt-rtx needs none"
        raise BackendError("there is no NVIDIA GPU to time engines on", "CUDA's driver is absent or names none", todo)
    library = found_plugin(plugin)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for precision, file in files.items():
            engines = build_both(file, precision, library, Path(folder))
            import tensorrt

            rows.append(measure(engines, steps_of(file, precision), frames_of(file), calls, tensorrt))
            tell(f"{precision}: measured")
    met = all(row["same_labels"] >= SAME_LABELS for row in rows)
    return {"calls": calls, "wanted_same_labels": SAME_LABELS, "met": met, "rows": rows}


def build_both(
    file: Path,
    precision: str,
    library: Path | None,
    folder: Path,
    build: Callable[..., Any] = build_engine,
) -> dict[str, Path]:
    """The engine with the plugin and the one with the function body, of one file."""
    engines = {}
    for way in WAYS:
        tell(f"{precision}: building with the {way}")
        engines[way] = folder / f"{precision}-{way}.engine"
        build(file, engines[way], "tensorrt", precision, library if way == "plugin" else None, detailed=True)
    return engines


def steps_of(file: Path, precision: str) -> set[str]:
    """Names of the nodes that the plugin stands for: the fused steps, and the Q/DQ that go with them in int8."""
    body, plugin = (
        load_from_string(typed(file, precision, (), "tensorrt", library)[0]) for library in (None, Path("any"))
    )
    left = {node.name for node in plugin.graph.node}
    return {node.name for node in body.graph.node if is_step(node) or node.name not in left}


def frames_of(file: Path) -> Frames:
    """Frames of the clip that ships, as that model takes them: uint8 [1, H, W, 3] each."""
    _, manifest = read_model(file)
    return [picture.copy() for picture, _ in FrameSet(DEMO_CLIP, count=FRAMES).inputs(manifest)]


def measure(
    engines: Mapping[str, Path],
    steps: Collection[str],
    frames: Frames,
    calls: int,
    library: Any,
    new_gpu: Callable[[], Gpu] = lambda: open_gpu(None, "tensorrt"),
) -> dict[str, Any]:
    """Two engines of one file, as `build_both` leaves them.

    Args:
        engines: by `WAYS`.
        steps: nodes that the plugin stands for, of `steps_of`.
        frames: uint8 [1, H, W, 3], at least one.
        calls: timed ones, of each engine.
        library: the module `tensorrt`.
        new_gpu: opens the device.

    Returns:
        A row for the JSON: the share of pixels with the same label, medians of whole calls, sums of layers and of
        those with fused steps in them, and the layers side by side.
    """
    files = {way: read_engine_file(path) for way, path in engines.items()}
    manifest = files["plugin"].manifest
    with ExitStack() as stack:
        backends = {
            way: stack.enter_context(open_engine(path, None, None, "tensorrt", library, new_gpu()))
            for way, path in engines.items()
        }
        pairs = [
            [backends[way].infer(first_inputs(manifest, frame))["label_map"].copy() for way in WAYS] for frame in frames
        ]
        whole = in_turns(
            {way: partial(one.infer, first_inputs(manifest, frames[0])) for way, one in backends.items()}, calls
        )
        about = {"gpu": gpu(), "device": backends["plugin"].device, **backends["plugin"].details}
    layers = {
        way: profile(file, first_inputs(manifest, frames[0]), calls, library, new_gpu) for way, file in files.items()
    }
    rows = side_by_side(layers["plugin"], layers["body"], steps)
    fused = [row for row in rows if row["fused_step"]]
    return {
        "precision": manifest.precision,
        **about,
        "plugin_layers": files["plugin"].built.get("plugin_layers"),
        "frames": len(frames),
        "same_labels": float(np.mean([a == b for a, b in pairs])),
        "call_p50_ms": whole,
        "layers_ms": {way: round(sum(layer.ms for layer in own), 5) for way, own in layers.items()},
        "fused_steps_ms": {way: round(sum(row[f"{way}_ms"] or 0.0 for row in fused), 5) for way in WAYS},
        "layers": rows,
    }


def in_turns(ways: Mapping[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    """Median milliseconds of each, called in turn, so that all meet the same clocks."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for call in range(-max(3, calls // 10), calls):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            if call >= 0:
                times[way].append((time.perf_counter() - started) * 1e3)
    return {way: round(statistics.median(own), 4) for way, own in times.items()}


def profile(
    file: EngineFile, inputs: Mapping[str, npt.NDArray[Any]], calls: int, library: Any, new_gpu: Callable[[], Gpu]
) -> list[Layer]:
    """Median time of each layer of one engine."""
    device = new_gpu()
    try:
        with device.bound():
            engine = ProfiledEngine(file, library, device)
            try:
                return engine.layers(inputs, calls)
            finally:
                engine.close()
    finally:
        device.close()


def sentences(row: Mapping[str, Any]) -> str:
    """One pair of engines, for people: a line, then the layers."""
    whole, fused = row["call_p50_ms"], row["fused_steps_ms"]
    listed = [[", ".join(one["nodes"])[:80], one["plugin_ms"], one["body_ms"]] for one in row["layers"][:20]]
    return (
        f"{row['precision']}: a call {whole['plugin']:.3f} ms with the plugin, {whole['body']:.3f} ms with the body; "
        f"what holds a fused step {fused['plugin']:.3f} ms and {fused['body']:.3f} ms; "
        f"{100 * row['same_labels']:.3f} % of the labels are the same\n"
        + table(["nodes of the file", "plugin, ms", "body, ms"], listed)
    )


if __name__ == "__main__":
    sys.exit(main())
