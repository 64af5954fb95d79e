"""Label maps in other processes: a camera of 1280x720 at 30 fps, through `edgeseg run` into shared memory and DDS.

    python benchmarks/local_consumers.py    writes benchmarks/results/local_consumers.json; nothing else should run

The readers are those of examples/, each a process: Python and C++ on the shared memory, cyclonedds with rosbags on the
ROS topics. They are there before the first frame: the run opens its JSON lines, a pipe, last, and waits for its reader.
Says of each reader how many frames it got and missed, and how old they were then. Exit code 5 where one missed a frame.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, tell, write_result

from edgeseg.runtime.clocks import ahead_ns
from edgeseg.runtime.sinks.shared_layout import FOLDER

EXAMPLES = HERE.parent / "examples"
FPS = 30
PATIENCE_S = 240
TOPICS = "edgeseg/consumers"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    parser.add_argument("--backend", default="auto", metavar="NAME")
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write here instead")
    args = parser.parse_args()
    # On this machine only, and apart from what else is published here.
    os.environ.update(ROS_LOCALHOST_ONLY="1", ROS_DOMAIN_ID=str(100 + os.getpid() % 100))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        rows, printed = measure(args, Path(folder), stack)
    frames = [row["frame"] for row in rows]
    captured_ns = np.array([row["captured_ns"] for row in rows])
    found = {}
    for kind, lines in printed.items():
        words = [line.split() for line in lines]
        if kind == "DDS":
            words = [row for row in words if "mono8" in row]
            stamps_ns = [int(row[0]) - ahead_ns(time.time_ns) for row in words]
            got = [frames[int(np.abs(captured_ns - stamp).argmin())] for stamp in stamps_ns]
            found[kind] = report(frames, got, [float(row[4]) for row in words])
        else:
            found[kind] = report(frames, [int(row[0]) for row in words], [float(row[3]) for row in words])
        print(f"{kind:6} {found[kind]}")
    body = {"source": f"synthetic:1280x720@{FPS}", "model": args.model, "frames_out": len(frames), "readers": found}
    if args.json:
        args.json.write_text(json.dumps(body), encoding="utf-8")
    else:
        print(f"written: {write_result('local_consumers', body)}")
    return 5 if any(one["missed"] or not one["in_order"] for one in found.values()) else 0


def measure(
    args: argparse.Namespace, folder: Path, stack: contextlib.ExitStack
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """(the run's JSON lines, what each reader printed)."""
    name, gate, program = f"edgeseg-{os.getpid()}", folder / "lines", str(folder / "read_label_maps")
    source = EXAMPLES / "read_label_maps.cpp"
    subprocess.run(["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", source, "-o", program], check=True)
    os.mkfifo(gate)
    words = [f"synthetic:1280x720@{FPS}", "--model", args.model, "--backend", args.backend, "--policy", "all"]
    words += ["--max-frames", str(args.frames), "--shm", name, "--ros", TOPICS, "--jsonl", str(gate)]
    run = begin(stack, folder / "run", [sys.executable, "-m", "edgeseg", "run", *words])
    tell("waiting for the run and its readers")
    wait_for(lambda: Path(FOLDER, name).exists(), run)
    commands = {
        "Python": [sys.executable, str(EXAMPLES / "read_label_maps.py"), name],
        "C++": [program, name],
        "DDS": [sys.executable, str(EXAMPLES / "read_ros_topics.py"), TOPICS],
    }
    readers = {kind: begin(stack, folder / kind, command) for kind, command in commands.items()}
    wait_for(lambda: f"{FOLDER}/{name}" in memory_of(readers["Python"]), run, readers["Python"])
    wait_for(lambda: f"{FOLDER}/{name}" in memory_of(readers["C++"]), run, readers["C++"])
    wait_for(lambda: "connected" in (folder / "DDS").read_text(), run, readers["DDS"])
    tell("running")
    rows = [json.loads(line) for line in gate.read_text(encoding="utf-8").splitlines()]
    for kind, process in {"run": run, **readers}.items():
        if process.wait(PATIENCE_S):
            sys.exit(f"{kind} failed: {(folder / kind).read_text()}")
    if Path(FOLDER, name).exists():
        sys.exit(f"the run has ended, and {FOLDER}/{name} is still there")
    return rows, {kind: (folder / kind).read_text().splitlines() for kind in readers}


def memory_of(process: subprocess.Popen[bytes]) -> str:
    """What a process has mapped."""
    return Path(f"/proc/{process.pid}/maps").read_text()


def begin(stack: contextlib.ExitStack, log: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process that writes into a log and ends with the stack."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def wait_for(done: Callable[[], bool], *needed: subprocess.Popen[bytes]) -> None:
    """Wait for something that processes do which run meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        for process in needed:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"not ready after {PATIENCE_S} s, or ended with {process.poll()}: {process.args!r}")
        time.sleep(0.01)


def report(sent: Sequence[int], got: Sequence[int], ages_ms: Sequence[float]) -> dict[str, Any]:
    """How the frames that a reader got compare with those that were sent."""
    p50, p95 = (float(value) for value in np.percentile(ages_ms, (50, 95))) if ages_ms else (None, None)
    return {
        "got": len(got),
        "missed": len(set(sent) - set(got)),
        "in_order": list(got) == sorted(set(got)),
        "age_ms": {"p50_ms": p50, "p95_ms": p95, "samples": len(ages_ms)},
    }


if __name__ == "__main__":
    sys.exit(main())
