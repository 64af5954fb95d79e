"""What the pipeline around a model costs: throughput beside a bare loop, time per stage, and how old results are.

    python benchmarks/pipeline_cost.py            writes benchmarks/results/pipeline_cost.json; nothing else should run

Three parts. Throughput: an unpaced synthetic 1280x720 source without a sink, in turn with a loop of preprocess,
inference and postprocess over frames that lie ready; at least 0.9 of it. Stages: `edgeseg run CLIP --save`, time per
stage. Freshness: cameras that are faster than a slowed backend, see freshness.py; nothing may queue up.
Exit code 5 where a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import clip_path, keep_two_cores, spread, tell, write_result
from freshness import CASES, SIZE, measure_freshness, sentence

import edgeseg
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sources import open_source
from edgeseg.types import Frame

RATIO_AT_LEAST = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=150, help="frames of a round")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each part on freshness")
    parser.add_argument("--clip", metavar="FILE", help="default: webcam-sign-yes.mkv of the shared data")
    args = parser.parse_args()
    cores = keep_two_cores()
    with edgeseg.load(args.model) as segmenter:
        backend = f"{segmenter.backend.name} {segmenter.manifest.precision}"
        throughput = measure_throughput(segmenter, args.rounds, args.frames)
        freshness = [measure_freshness(segmenter, case, args.seconds) for case in CASES]
    stages = measure_stages(args.model, clip_path(args.clip))
    body = {"model": args.model, "runs": backend, "cores_used": cores}
    body |= {"throughput": throughput, "freshness": freshness, "stages": stages}
    body["summary"] = summarise(throughput, freshness, stages)
    print("\n".join(body["summary"]))
    print(f"met: throughput {throughput['met']}, {[found['met_each'] for found in freshness]}")
    print(f"written: {write_result('pipeline_cost', body)}")
    return 0 if throughput["met"] and all(found["met"] for found in freshness) else 5


def measure_throughput(segmenter: Segmenter, rounds: int, count: int) -> dict[str, Any]:
    """Frames a second of the pipeline and of the bare loop, in turn, and their ratio by round."""
    with open_source(f"synthetic:{SIZE}", max_frames=16) as source:
        ready = [Frame(frame.image.copy(), frame.number, frame.captured_ns) for frame in source]
    loop_fps, pipeline_fps = [], []
    for turn in range(rounds + 1):
        tell(f"throughput: round {turn} of {rounds}")
        # There and back again: who goes first changes with every round.
        order = (loop, piped) if turn % 2 else (piped, loop)
        found = {measure: measure(segmenter, ready, count) for measure in order}
        if turn:  # the first is the warm-up
            loop_fps.append(found[loop])
            pipeline_fps.append(found[piped])
    ratios = [one / other for one, other in zip(pipeline_fps, loop_fps, strict=True)]
    return {
        "pipeline_fps": spread(pipeline_fps),
        "bare_loop_fps": spread(loop_fps),
        "ratio": spread(ratios),
        "frames_a_round": count,
        "wanted_ratio": RATIO_AT_LEAST,
        "met": spread(ratios)["median"] >= RATIO_AT_LEAST,
    }


def loop(segmenter: Segmenter, ready: Sequence[Frame], count: int) -> float:
    """Frames a second of the three stages, one after the other, without anything around them."""
    started = time.perf_counter()
    for number in range(count):
        image, geometry = segmenter.preprocess(ready[number % len(ready)].image)
        segmenter.postprocess(segmenter.infer(image), geometry)
    return count / (time.perf_counter() - started)


def piped(segmenter: Segmenter, ready: Sequence[Frame], count: int) -> float:
    """Frames a second of the pipeline between its first and its last result."""
    with open_source(f"synthetic:{SIZE}", max_frames=count) as source:
        pipeline = Pipeline(source, segmenter)
        pipeline.start()
        pipeline.join()
    return float(pipeline.stats.to_dict()["throughput_fps"])


def measure_stages(model: str, clip: Path) -> dict[str, Any]:
    """The command line from a file into an MP4, with its own figures."""
    tell(f"stages: {clip.name} into an MP4")
    with tempfile.TemporaryDirectory() as folder:
        figures, video = Path(folder) / "stats.json", Path(folder) / "out.mp4"
        command = [sys.executable, "-m", "edgeseg", "run", str(clip), "--model", model]
        command += ["--save", str(video), "--stats", str(figures)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        # Where the clip lies is this machine's affair.
        return {"clip": clip.name, "stats": json.loads(figures.read_text(encoding="utf-8")) | {"source": clip.name}}


def summarise(throughput: dict[str, Any], freshness: list[dict[str, Any]], stages: dict[str, Any]) -> list[str]:
    """The figures in sentences, for the screen and for the README."""
    ratio, piped_fps, loop_fps = (throughput[name] for name in ("ratio", "pipeline_fps", "bare_loop_fps"))
    spans = {name: stages["stats"][name] for name in ("capture", "preprocess", "inference", "postprocess")}
    spans |= {f"writing the {output['output']}": output["write"] for output in stages["stats"]["outputs"]}
    listed = ", ".join(f"{name} {span['p50_ms']:.2f}" for name, span in spans.items())
    return [
        f"{SIZE}, unpaced, no sink: {piped_fps['median']:.1f} fps against {loop_fps['median']:.1f} of a bare loop, "
        f"ratio {ratio['median']:.2f} ({ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f}), "
        f"at least {RATIO_AT_LEAST}",
        f"{stages['clip']} into an MP4, p50 ms of each stage: {listed}",
        *map(sentence, freshness),
    ]


if __name__ == "__main__":
    sys.exit(main())
