"""The page on int8, docs/int8.md: what it costs and what it gains, from the JSON of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from texts import load, table

LAYERS = 15


def int8_page(machine: str) -> str:
    """The whole page; `machine` is that of the times."""
    return (
        "\n\n".join(["# What int8 costs and gains", *_costs(load("int8_costs").get("models", {})), *_gains(machine)])
        + "\n"
    )


def _costs(models: Mapping[str, Any]) -> list[str]:
    if not models:
        return []
    limit = next(iter(models.values()))["limit_points"]
    parts = [
        f"mIoU in %, and points lost against fp32 (at most {limit:g}). The plain file is what `edgeseg calibrate` and "
        "`edgeseg quantize` make with their default options on training pictures: `python benchmarks/int8_costs.py`. "
        "Then what each layer costs alone in int8, the costliest first. `edgeseg quantize --max-drop` leaves those in "
        "float that cost too much."
    ]
    for model, body in models.items():
        parts += _cost(model, body)
    return parts


def _cost(model: str, body: Mapping[str, Any]) -> list[str]:
    lost, backends, swept = body["points_lost"], list(body["miou"]["fp32"]), body["swept_on"]
    rows = [
        [label, *(f"{100 * own[name]:.2f}" for name in backends), *_points(lost.get(label), backends)]
        for label, own in body["miou"].items()
    ]
    costliest = [[row["layer"], f"{row['drop_points']:+.3f}"] for row in body["layers"][:LAYERS]]
    total = sum(row["drop_points"] for row in body["layers"])
    return [
        table([f"{model}, {body['data']} {body['split']}", *backends, *(f"lost, {name}" for name in backends)], rows),
        table([f"layer, {swept['pictures']} pictures of {swept['split']}", "points lost"], costliest),
        f"Those of all {len(body['layers'])} layers add up to {total:+.2f}.",
    ]


def _points(lost: Mapping[str, float] | None, backends: Sequence[str]) -> list[str]:
    return [f"{lost[name]:+.2f}" if lost else "" for name in backends]


def _gains(machine: str) -> list[str]:
    speed, profile = load("vs_mediapipe"), load("layer_times")
    parts = ["## What it gains"]
    rows = []
    for found in speed.get("compared", {}).values():
        ratio = found["openvino_int8_times_as_fast_as_onnxruntime_fp32"]
        rows.append(
            [found["model"], f"{ratio['median']:.2f}", f"{ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f}"]
        )
    if rows:
        parts += [
            "How many times as fast a whole frame is (1280x720 in, mask of that size out) in int8 on OpenVINO as in "
            f"fp32 on ONNX Runtime, in turn on two cores of {machine}: `python benchmarks/vs_mediapipe.py`.",
            table(["model", "median", "quartiles"], rows),
        ]
    if profile:
        whole, columns = profile["whole_ms"], ("onnxruntime_fp32_ms", "openvino_int8_ms")
        sums = {column: sum(own[column] for own in profile["groups"].values()) for column in columns}
        cells = [[name, *(f"{own[column]:.2f}" for column in columns)] for name, own in profile["groups"].items()]
        cells.append(["sum", *(f"{sums[column]:.2f}" for column in columns)])
        parts += [
            f"The network alone takes {whole['onnxruntime_fp32']:.2f} ms in fp32 on ONNX Runtime and "
            f"{whole['openvino_int8']:.2f} ms in int8 on OpenVINO, in turn in one run: "
            f"{profile['times_as_fast']['median']:.2f} times as fast. Where the time goes, by each "
            f"runtime's own profiler, which costs time itself, in ms: `{profile['command']}`.",
            table(["kind of layer", "fp32, ONNX Runtime", "int8, OpenVINO"], cells),
        ]
    return parts if len(parts) > 1 else []
