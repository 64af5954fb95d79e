"""A long run: does its memory grow, do threads or file handles pile up?

    python benchmarks/soak.py               twice 200,000 frames; writes benchmarks/results/soak.json

`edgeseg run` as users call it, on small frames into every output but the window and the virtual camera (a kernel module
that is not everywhere), is watched from outside (/proc) while it runs. Two runs: masks go into a folder or a video,
pictures into a video or to standard output. Resident memory after the first twentieth and at the end must be within
2 %, threads and file handles equal, every output must have taken every frame, and the files hold them all. Somebody
looks at the web page all the while. Exit code 5 where that is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, mode
from typing import Any

import aiohttp
from common import RESULTS, revision, tell
from soak_outputs import KINDS, SOURCE, Outputs, Streams

from edgeseg.cli.output import write_json
from edgeseg.errors import EdgeSegError
from edgeseg.machine import describe

FIRST, WINDOW = 0.05, 0.01  # shares of the run: where memory must be settled, and what is looked at there
GROWTH = 0.02
KEPT = 200  # points of the curve in the JSON
POLL_S = 0.05


@dataclass(frozen=True)
class Sample:
    """The process at one moment: its progress (0 to 1), resident bytes, threads, open handles."""

    progress: float
    resident: int
    threads: int
    handles: int


class Viewer:
    """A page that is open from the run's first moment to its last, without the browser: it takes what comes."""

    def __init__(self, port: int) -> None:
        self.seen, self._url = 0, f"http://127.0.0.1:{port}/live"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._look()))

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _look(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._ended.is_set():
                try:
                    async with session.ws_connect(self._url, max_msg_size=0) as live:
                        async for message in live:
                            if message.type is aiohttp.WSMsgType.BINARY:
                                self.seen += 1
                                await live.send_json({"seen": 1})
                except aiohttp.ClientError:
                    await asyncio.sleep(POLL_S)


def look(process: int, progress: float, files: Path) -> Sample | None:
    """A sample; None where the process has just ended."""
    folder = Path("/proc") / str(process)
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        # The mask that is being written into a folder is no handle that stays.
        handles = sum(not handle.readlink().is_relative_to(files) for handle in _listed(folder / "fd"))
        return Sample(progress, 1024 * int(status["VmRSS"].split()[0]), int(status["Threads"]), handles)
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return None


def _listed(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_symlink()]


def watch(words: Sequence[str], outputs: Outputs | Streams, frames: int) -> list[Sample]:
    """Run `edgeseg run` to its end; samples from its first mask to its last."""
    samples: list[Sample] = []
    told = 0.0
    # Topics stay on this machine.
    alone = os.environ | {"ROS_LOCALHOST_ONLY": "1"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=alone) as process,
    ):
        assert process.stdout is not None
        reader = threading.Thread(target=outputs.read, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                progress = outputs.collect() / frames
                sample = look(process.pid, progress, outputs.masks) if 0 < progress < 1 else None
                if sample is not None:
                    samples.append(sample)
                    if progress - told >= 0.05:
                        told = progress
                        tell(f"{progress:4.0%}  {sample.resident / 1e6:.1f} MB, {sample.threads} threads")
        finally:
            process.kill()
        reader.join()
        if process.wait():
            errors.seek(0)
            raise EdgeSegError("the run failed", errors.read().strip()[-400:].rstrip("."), "Try the same by hand")
    return samples


def judge(samples: Sequence[Sample], first: float = FIRST, growth: float = GROWTH) -> dict[str, Any]:
    """Compare what follows the first share of the run with its end."""
    early = [sample for sample in samples if first <= sample.progress < first + WINDOW]
    early = early or [sample for sample in samples if sample.progress >= first][:3]
    late = [sample for sample in samples if sample.progress >= 1 - WINDOW] or list(samples[-3:])
    if not early:
        raise EdgeSegError("the run was too short to be watched", f"{len(samples)} samples", "Give more --frames")
    ends = [
        {
            "progress": median(sample.progress for sample in part),
            "resident_mb": median(sample.resident for sample in part) / 1e6,
            "threads": mode(sample.threads for sample in part),
            "handles": mode(sample.handles for sample in part),
        }
        for part in (early, late)
    ]
    begin, end = ends
    grown = end["resident_mb"] / begin["resident_mb"] - 1
    met = {
        "memory": grown <= growth,
        "threads": begin["threads"] == end["threads"],
        "handles": begin["handles"] == end["handles"],
    }
    return {"begin": begin, "end": end, "grown": grown, "limit": growth, "met_each": met}


def soak(frames: int, model: str, backend: str, kind: type[Outputs] | type[Streams], first: float) -> dict[str, Any]:
    """A run, and what became of it."""
    with tempfile.TemporaryDirectory() as name:
        stats, outputs = Path(name) / "stats.json", kind(Path(name))
        words = [sys.executable, "-m", "edgeseg", "run", "--max-frames", str(frames), "--stats", str(stats)]
        words += ["--model", model, "--backend", backend, "--smooth", "uncertainty", *outputs.words, SOURCE]
        with Viewer(outputs.port) as viewer:
            samples = watch(words, outputs, frames)
        figures = json.loads(stats.read_text(encoding="utf-8"))
        if figures["frames_out"] != frames:
            seen = f"{figures['frames_out']} frames of {frames}"
            raise EdgeSegError("the run did not come to its end", seen, "Did something send it a signal? Try again")
        counts = outputs.counts()
    body = judge(samples, first)
    taken = {output["output"]: output["written"] for output in figures["outputs"]}
    body["met_each"]["outputs"] = all(count == frames for count in [*counts.values(), *taken.values()])
    body["met_each"]["viewer"] = viewer.seen > 0
    thin = samples[:: max(1, len(samples) // KEPT)]
    kept = {key: figures[key] for key in ("model", "precision", "backend", "throughput_fps")}
    return {
        "frames": frames,
        "source": SOURCE,
        "files": counts,
        "outputs": taken,
        "pictures_viewed": viewer.seen,
        **kept,
        **body,
        "met": all(body["met_each"].values()),
        "curve_mb": [[round(sample.progress, 4), round(sample.resident / 1e6, 2)] for sample in thin],
    }


def summary(body: dict[str, Any]) -> str:
    """A run's figures in a sentence."""
    begin, end = body["begin"], body["end"]
    missed = ", ".join(name for name, met in body["met_each"].items() if not met)
    return (
        f"{body['frames']} frames ({body['source']}, {body['model']} on {body['backend']}) into "
        f"{', '.join(body['outputs'])}: {begin['resident_mb']:.1f} MB resident after {begin['progress']:.0%}, "
        f"{end['resident_mb']:.1f} MB at the end ({100 * body['grown']:+.2f} %, at most +{100 * body['limit']:g} %); "
        f"threads {begin['threads']} and {end['threads']}, handles {begin['handles']} and {end['handles']}"
        + (f"; missed: {missed}" if missed else "")
    )


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000, help="of each run")
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    parser.add_argument("--backend", default="auto", metavar="NAME")
    parser.add_argument(
        "--first", type=float, default=FIRST, help="share of the run after which memory must be settled"
    )
    parser.add_argument("--runs", nargs="+", default=list(KINDS), choices=list(KINDS), help="others stay as they were")
    parser.add_argument("--json", default=str(RESULTS / "soak.json"), metavar="OUT")
    args = parser.parse_args()
    path = Path(args.json)
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    met = False
    for name in args.runs:
        body = soak(args.frames, args.model, args.backend, KINDS[name], args.first)
        runs[name] = {"summary": summary(body), "revision": revision(), **body, "machine": describe()}
        tell(runs[name]["summary"])
        # At once: a run takes a quarter of an hour.
        met = set(runs) == set(KINDS) and all(run["met"] for run in runs.values())
        write_json({"command": "python benchmarks/soak.py", "met": met, "runs": runs}, str(path))
    return 0 if met else 5


if __name__ == "__main__":
    sys.exit(main())
