"""The fused step's kernel on a GPU: bytes a second against the device's own copy, time against torch's three operators.

    python benchmarks/plugin_speed.py [--rounds 50]

Sizes are a U-Net's decoder at 512 x 512, float16, channels last, upsampled by 2, nothing to crop and a crop of 8.
Times are of CUDA events around many launches, in turns, so that all meet the same clocks; p50 of the rounds. The bytes
are those that the step cannot do without (docs/plugin.md). Exit code 5: a size moves less than 75 % of the bytes a
second of the device's own copy, or is not 1.5 times as fast as torch's operators, eager. Without a GPU there is nothing
to measure, which is said.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from common import gpu, tell, write_result

LAUNCHES = 20  # between two events
# (channels of deep and skip, rows and columns of deep)
SIZES = [(256, 128, 32), (128, 64, 64), (64, 32, 128), (32, 16, 256)]
CROPS = (0, 8)
# What each size has to reach.
WANTED = {"share_of_copy_bandwidth": 0.75, "times_faster_than_torch": 1.5}


def main() -> int:
    """Measure every size, write benchmarks/results/plugin_speed.json."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    if not torch.cuda.is_available():
        tell("skipped: there is no NVIDIA GPU")
        return 0
    rows = [measure(*size, crop, rounds) for size in SIZES for crop in CROPS]
    failed = missed(rows)
    limits = {"wanted": WANTED, "met": not failed, "missed": failed}
    head = {"gpu": gpu(), "rounds": rounds}
    tell(f"written: {write_result('plugin_speed', head | limits | {'rows': rows})}")
    for line in failed:
        tell(f"error: a limit was missed: {line}. Look at the device's clocks, and at what else runs on it.")
    return 5 if failed else 0


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """What fell short of `WANTED`, one line each."""
    return [
        f"deep {row['deep']}, skip {row['skip']}: {key} {row[key]}, wanted {least}"
        for row in rows
        for key, least in WANTED.items()
        if not row[key] >= least
    ]


def measure(deep_channels: int, skip_channels: int, side: int, crop: int, rounds: int) -> dict[str, Any]:
    """One size: microseconds of each way, and what they mean."""
    import torch

    from edgeseg.export.fused_op import upsample_crop_concat
    from edgeseg.models.ops import upsample_crop_concat as reference

    options: Any = {"dtype": torch.float16, "device": "cuda"}
    deep = torch.randn(1, deep_channels, side, side, **options).contiguous(memory_format=torch.channels_last)
    shape = (1, skip_channels, 2 * side + crop, 2 * side + crop)
    skip = torch.randn(shape, **options).contiguous(memory_format=torch.channels_last)
    moved = 2 * (deep.numel() + (2 * skip_channels + deep_channels) * 4 * side * side)
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    compiled = torch.compile(reference)
    ways: dict[str, Callable[[], Any]] = {
        "kernel": lambda: upsample_crop_concat(deep, skip),
        "torch": lambda: reference(deep, skip),
        "torch_compiled": lambda: compiled(deep, skip),
        "copy": lambda: target.copy_(source),  # as many bytes, half of them read
    }
    torch.testing.assert_close(ways["kernel"](), ways["torch"](), rtol=2e-3, atol=2e-3)
    times = {name: statistics.median(values) for name, values in in_turns(ways, rounds).items()}
    return {
        "deep": list(deep.shape),
        "skip": list(skip.shape),
        "bytes": moved,
        **{f"{name}_p50_us": round(value, 2) for name, value in times.items()},
        "share_of_copy_bandwidth": round(times["copy"] / times["kernel"], 3),
        "times_faster_than_torch": round(times["torch"] / times["kernel"], 2),
        "times_faster_than_torch_compiled": round(times["torch_compiled"] / times["kernel"], 2),
    }


def in_turns(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Microseconds of one launch, round by round, replayed from CUDA graphs: Python's own time is not the kernel's."""
    import torch

    graphs = {}
    for name, way in ways.items():
        for _ in range(3):
            way()
        torch.cuda.synchronize()
        graphs[name] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[name]):
            for _ in range(LAUNCHES):
                way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for warming in (True, False):
        for _ in range(3 if warming else rounds):
            for name, graph in graphs.items():
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                graph.replay()
                end.record()
                end.synchronize()
                if not warming:
                    times[name].append(1e3 * start.elapsed_time(end) / LAUNCHES)
    return times


if __name__ == "__main__":
    sys.exit(main())
