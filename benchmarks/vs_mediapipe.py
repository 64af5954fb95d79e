"""edgeseg against MediaPipe's selfie segmentation: same frames, same two cores, blocks in turn, frame in to mask out.

    python benchmarks/vs_mediapipe.py            writes benchmarks/results/vs_mediapipe.json; nothing else should run

MediaPipe lives in an environment of its own (.bench/mediapipe, made here). Each network runs in a worker process that
waits while the other measures. A round is M e1 M e2 M ...: every candidate of edgeseg stands between two blocks of
MediaPipe, and its ratio is the mean of their medians over its own. The median over all rounds is the figure.
Exit code 5 where edgeseg is not as many times as fast as it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, clip_frames, clip_path, keep_two_cores, scratch, spread, tell, write_result
from workers import Worker, best_order, make_environment

from edgeseg.errors import EdgeSegError
from edgeseg.runtime.backends.timed import Block, median, quiet_blocks

MEDIAPIPE = "mediapipe==0.10.21"
# MediaPipe's name for the network -> its number, and how many times as fast edgeseg should be.
NETWORKS = {"general": (0, 1.5), "landscape": (1, 1.2)}
FRAMES = 30
WARM = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--general", default="person", metavar="MODEL", help="against the general model (256x256)")
    parser.add_argument("--landscape", default="person-landscape", metavar="MODEL", help="against the landscape model")
    parser.add_argument("--only", choices=NETWORKS, help="one of the two")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--calls", type=int, default=12, help="timed calls in a block")
    parser.add_argument("--clip", metavar="FILE", help="default: webcam-sign-yes.mkv of the shared data")
    parser.add_argument("--mediapipe-python", metavar="FILE", help=f"an environment that has {MEDIAPIPE}")
    args = parser.parse_args()
    try:
        return run(args)
    except EdgeSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def run(args: argparse.Namespace) -> int:
    """Measure, write, print."""
    cores = keep_two_cores()
    folder = scratch()
    clip = clip_path(args.clip)
    frames = folder / "frames.npy"
    np.save(frames, clip_frames(clip, FRAMES))
    tell(f"environment of {MEDIAPIPE}: {folder / 'mediapipe'}")
    python = args.mediapipe_python or str(make_environment(folder / "mediapipe", MEDIAPIPE))
    compared = {}
    for network, (number, wanted) in NETWORKS.items():
        if args.only in (None, network):
            compared[network] = compare(getattr(args, network), network, number, wanted, python, frames, args)
    body = {
        "frames": f"{clip.name}, cut to 16:9 and scaled to 1280x720, {FRAMES} frames in turn",
        "span": "frame in to full-size mask out; edgeseg gets BGR, MediaPipe RGB that was converted before",
        "cores_used": cores,
        "block_calls": args.calls,
        "block_warm_up": WARM,
        "compared": compared,
    }
    print(f"written: {write_result('vs_mediapipe', body)}")
    return 0 if all(result["met"] for result in compared.values()) else 5


def compare(
    model: str, network: str, number: int, wanted: float, python: str, frames: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """All candidates of one model against one network of MediaPipe."""
    folder = frames.parent
    ours = [sys.executable, str(HERE / "edgeseg_worker.py"), str(frames), model]
    theirs = [python, str(HERE / "mediapipe_worker.py"), str(frames), str(number)]
    with (
        Worker("edgeseg", ours, folder / f"edgeseg-{network}.log") as edge,
        Worker("mediapipe", theirs, folder / f"mediapipe-{network}.log") as other,
    ):
        blocks: dict[str, list[Block]] = {name: [] for name in edge.ready["candidates"]}
        mediapipe: dict[str, list[Block]] = {"rgb": [], "bgr": []}
        ratios: dict[str, list[float]] = {name: [] for name in blocks}
        for worker, names in ((edge, blocks), (other, mediapipe)):
            for name in names:
                worker.time(name, 1, 10)
        for turn in range(args.rounds):
            tell(f"{model} against {network}: round {turn + 1} of {args.rounds}")
            mediapipe["bgr"].append(other.time("bgr", args.calls, WARM))
            before = other.time("rgb", args.calls, WARM)
            mediapipe["rgb"].append(before)
            for name in best_order(blocks, turn):
                own = edge.time(name, args.calls, WARM)
                after = other.time("rgb", args.calls, WARM)
                ratios[name].append((median(before) + median(after)) / 2 / median(own))
                blocks[name].append(own)
                mediapipe["rgb"].append(after)
                before = after
        result = report(blocks, mediapipe, ratios, wanted)
        result |= {"model": model, "edgeseg": edge.ready, "mediapipe": other.ready}
    show(model, network, result)
    return result


def report(
    blocks: dict[str, list[Block]], mediapipe: dict[str, list[Block]], ratios: dict[str, list[float]], wanted: float
) -> dict[str, Any]:
    """Figures for JSON: milliseconds, ratios to MediaPipe, and of int8 on OpenVINO to fp32 on ONNX Runtime."""
    body: dict[str, Any] = {
        "times_as_fast_as_mediapipe": {name: spread(values) for name, values in ratios.items()},
        "milliseconds": {name: times(made) for name, made in blocks.items()}
        | {f"mediapipe {name}": times(made) for name, made in mediapipe.items()},
        "wanted": wanted,
        "met": spread(ratios["auto"])["median"] >= wanted,
    }
    pair = ("onnxruntime fp32", "openvino int8")
    if all(name in blocks for name in pair):
        slow, fast = (blocks[name] for name in pair)
        body["openvino_int8_times_as_fast_as_onnxruntime_fp32"] = spread(
            [median(one) / median(other) for one, other in zip(slow, fast, strict=True)]
        )
    return body


def times(made: list[Block]) -> dict[str, float]:
    """Milliseconds of one candidate: over all calls, and in the quiet tenth of its blocks."""
    every = [value for block in made for value in block]
    quiet = [value for block in quiet_blocks(made) for value in block]
    p50, p95 = (float(value) for value in np.percentile(every, (50, 95)))
    return {"p50_ms": p50, "p95_ms": p95, "samples": len(every), "quiet_p50_ms": median(quiet)}


def show(model: str, network: str, result: dict[str, Any]) -> None:
    """The table for people."""
    print(f"{model} ({result['edgeseg']['input']}) against MediaPipe {network}; auto is {result['edgeseg']['auto']}")
    for name, found in result["milliseconds"].items():
        ratio = result["times_as_fast_as_mediapipe"].get(name)
        times_as_fast = (
            f"   {ratio['median']:.2f} times as fast ({ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f})"
            if ratio
            else ""
        )
        print(f"  {name:18} p50 {found['p50_ms']:6.2f} ms  quiet {found['quiet_p50_ms']:6.2f} ms{times_as_fast}")
    against = result.get("openvino_int8_times_as_fast_as_onnxruntime_fp32")
    if against:
        print(f"  int8 on OpenVINO is {against['median']:.2f} times as fast as fp32 on ONNX Runtime")
    print(f"  wanted {result['wanted']}: {'met' if result['met'] else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
