"""Where the time of a model goes: int8 on OpenVINO beside fp32 on ONNX Runtime, layer by layer.

    python benchmarks/layer_times.py [--model person] [--json benchmarks/results/layer_times.json]

Both run in turn on the same picture, each with the threads that the runtime gives it, and each with its own profiler.
Both fuse what stands behind a convolution into it, so that a row is a convolution of the file with its activation; what
only one of them executes, layouts and conversions above all, has a row of its own. A profiler costs time itself, so
whole calls are timed without one, some of each runtime in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import keep_two_cores, revision, spread, tell

from edgeseg.cli.output import table, write_json
from edgeseg.machine import describe
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.backends.base import default_threads, first_inputs
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.zoo import find_model

Inputs = Mapping[str, npt.NDArray[Any]]
# Of what OpenVINO adds, or ONNX Runtime: layouts and conversions between layers.
MOVES = ("Reorder", "Convert", "ReorderInput", "ReorderOutput", "Subgraph", "QuantizeLinear", "DequantizeLinear")
ROUNDS, CALLS = 40, 20
CONVOLUTIONS = ("Conv", "FusedConv", "Convolution", "GroupConvolution")
GROUPS = dict.fromkeys(("Upsample", "Resize", "Interpolate"), "upsampling") | {"Concat": "concatenation"}


def main() -> None:
    """Profile, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--json", default=str(Path(__file__).parent / "results" / "layer_times.json"))
    args = parser.parse_args()
    cores = keep_two_cores()
    files = find_model(args.model).files
    manifest = read_model_file(files["fp32"]).manifest
    image = np.random.default_rng(0).integers(0, 256, (1, manifest.height, manifest.width, 3), np.uint8)
    inputs = first_inputs(manifest, image)
    tell(f"{args.model}: {args.calls} calls each")
    whole, ratio = in_turn({"onnxruntime_fp32": files["fp32"], "openvino_int8": files["int8"]}, inputs)
    with tempfile.TemporaryDirectory() as folder:
        fp32 = on_onnxruntime(files["fp32"], inputs, args.calls, Path(folder))
    int8 = on_openvino(files["int8"], inputs, args.calls)
    rows = side_by_side(fp32, int8, layer_names(files["fp32"]))
    groups = grouped(rows, depthwise_layers(files["fp32"]))
    body = {
        "command": f"python benchmarks/layer_times.py --model {args.model}",
        "revision": revision(),
        "model": args.model,
        "calls": args.calls,
        "cores_used": cores,
        "whole_ms": whole,
        "times_as_fast": ratio,
        "groups": groups,
        "layers": rows,
        "machine": describe(),
    }
    write_json(body, args.json)
    listed = [[row["layer"], row["operator"], row["onnxruntime_fp32_ms"], row["openvino_int8_ms"]] for row in rows[:30]]
    print(table(["layer", "operator", "fp32, ONNX Runtime, ms", "int8, OpenVINO, ms"], listed))
    sums = [[name, own["onnxruntime_fp32_ms"], own["openvino_int8_ms"]] for name, own in groups.items()]
    print(table(["all of", "fp32, ONNX Runtime, ms", "int8, OpenVINO, ms"], sums))
    print(
        f"whole: {whole['onnxruntime_fp32']:.2f} ms and {whole['openvino_int8']:.2f} ms, {ratio['median']:.2f} times "
        f"as fast ({ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f})"
    )


def on_onnxruntime(path: Path, inputs: Inputs, calls: int, folder: Path) -> dict[str, tuple[str, float]]:
    """node -> (operator, median ms)."""
    import onnxruntime

    def session(prefix: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = default_threads(), 3
        options.add_free_dimension_override_by_name("N", 1)
        options.enable_profiling, options.profile_file_prefix = True, prefix
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    profiled = session(str(folder / "ort"))
    for _ in range(calls):
        profiled.run(None, dict(inputs))
    events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    spent: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            node = name.removesuffix("_kernel_time")
            spent.setdefault(node, []).append(event["dur"] / 1e3)
            kinds[node] = str(event["args"].get("op_name", ""))
    return {node: (kinds[node], statistics.median(values)) for node, values in spent.items()}


def on_openvino(path: Path, inputs: Inputs, calls: int) -> dict[tuple[str, ...], tuple[str, float]]:
    """The same; each executed layer by the original nodes in it."""
    import openvino
    from onnx import load
    from onnx.inliner import inline_local_functions

    core: Any = openvino.Core()
    model = core.read_model(inline_local_functions(load(path)).SerializeToString())
    model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": default_threads()}
    profiled = core.compile_model(model, "CPU", settings | {"PERF_COUNT": True}).create_infer_request()
    spent: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for _ in range(calls):
        profiled.infer(dict(inputs))
        for item in profiled.get_profiling_info():
            if item.status == type(item).Status.EXECUTED:
                spent.setdefault(item.node_name, []).append(item.real_time.total_seconds() * 1e3)
                kinds[item.node_name] = f"{item.node_type} {item.exec_type}"
    nodes = profiled.get_compiled_model().get_runtime_model().get_ops()
    inside = {node.get_friendly_name(): originals(node) for node in nodes}
    return {inside.get(name) or (name,): (kinds[name], statistics.median(own)) for name, own in spent.items()}


def in_turn(files: Mapping[str, Path], inputs: Inputs) -> tuple[dict[str, float], dict[str, float]]:
    """Median ms of a call of each as `edgeseg run` makes it, sizes fixed; how many times as fast the last is."""
    with ExitStack() as stack:
        loaded = {name: stack.enter_context(load_backend(path, name.split("_")[0])) for name, path in files.items()}
        rounds = [
            {name: median_ms(partial(backend.infer, inputs), CALLS) for name, backend in loaded.items()}
            for _ in range(ROUNDS)
        ]
    first, *_, last = files
    return (
        {name: statistics.median(one[name] for one in rounds) for name in files},
        spread([one[first] / one[last] for one in rounds]),
    )


def originals(node: Any) -> tuple[str, ...]:
    """Names of the nodes that were fused into one that OpenVINO executes."""
    info = node.get_rt_info()
    names = str(info["originalLayersNames"].astype(str)) if "originalLayersNames" in info else ""
    return tuple(name for name in names.split(",") if name)


def median_ms(call: Callable[[], Any], calls: int) -> float:
    """Median time of a call, after a tenth as many to warm up."""
    for _ in range(max(1, calls // 10)):
        call()
    spans = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        spans.append((time.perf_counter() - started) * 1e3)
    return statistics.median(spans)


def layer_names(path: Path) -> dict[str, str]:
    """For each activation behind a convolution the name of that convolution."""
    from onnx import load

    graph = load(path).graph
    made = {name: node for node in graph.node for name in node.output}
    behind = {node.name: made.get(node.input[0]) for node in graph.node if node.op_type in ("Clip", "Relu")}
    return {name: node.name for name, node in behind.items() if node is not None and node.op_type == "Conv"}


def side_by_side(
    fp32: Mapping[str, tuple[str, float]], int8: Mapping[tuple[str, ...], tuple[str, float]], layers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row a layer, the slowest first; None where a runtime has no such layer."""
    rows: dict[str, dict[str, Any]] = {}

    def add(name: str, column: str, kind: str, spent: float) -> None:
        name = name.removesuffix("_nchwc").removesuffix("/WithoutBiases")
        name = layers.get(name, name)
        nothing = {"onnxruntime_fp32_ms": None, "openvino_int8_ms": None}
        row = rows.setdefault(name, {"layer": name, "operator": kind, **nothing, "moves_only": True})
        row[column] = (row[column] or 0.0) + spent
        row["moves_only"] = row["moves_only"] and kind.split()[0] in MOVES

    for name, (kind, spent) in fp32.items():
        add(name, "onnxruntime_fp32_ms", kind, spent)
    for names, (kind, spent) in int8.items():
        # Of what was fused the convolution counts.
        stripped = [name.removesuffix("/WithoutBiases") for name in names]
        add(next((name for name in stripped if name in layers.values()), stripped[0]), "openvino_int8_ms", kind, spent)
    return sorted(rows.values(), key=lambda row: -((row["openvino_int8_ms"] or 0) + (row["onnxruntime_fp32_ms"] or 0)))


def depthwise_layers(path: Path) -> dict[str, bool]:
    """Each convolution of the file, and whether each of its channels is filtered alone."""
    from onnx import load

    convolutions = [node for node in load(path).graph.node if node.op_type == "Conv"]
    return {node.name: any(item.name == "group" and item.i > 1 for item in node.attribute) for node in convolutions}


def grouped(rows: Sequence[Mapping[str, Any]], depthwise: Mapping[str, bool]) -> dict[str, dict[str, float]]:
    """Sums over the rows of a kind, in ms."""
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        kind, name = row["operator"].split()[0], row["layer"]
        if name in depthwise or kind in CONVOLUTIONS:
            group = "depthwise convolutions" if depthwise.get(name) or kind == "GroupConvolution" else "convolutions"
        elif row["moves_only"]:
            group = "conversions of layout and type"
        else:
            group = GROUPS.get(kind, "all else: camera bytes to planes, labels")
        own = sums.setdefault(group, {"onnxruntime_fp32_ms": 0.0, "openvino_int8_ms": 0.0})
        for column in own:
            own[column] += row[column] or 0.0
    return dict(sorted(sums.items(), key=lambda item: -sum(item[1].values())))


if __name__ == "__main__":
    main()
