"""How long until edgeseg is there: the import, and the first mask after the start of a process, `auto` cached or not.

    python benchmarks/startup.py            writes benchmarks/results/startup.json; nothing else should run

Every start is a process of its own; the kinds take turns. Both processes read the same monotonic clock, so the time of
the first mask counts from just before the process was made. Files are in the page cache, as on any start but the first.
Exit code 5 where a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import keep_two_cores, spread, tell, write_result

LIMITS_S = {"import_adds": 0.15, "first_mask_cached": 1.5, "first_mask_cold": 5.0}
HEAVY = ("cv2", "torch", "onnxruntime", "openvino", "av", "onnx")

IMPORT = f"""
import json, sys, time
import numpy
started = time.perf_counter()
import edgeseg
ended = time.perf_counter()
print(json.dumps({{"s": ended - started, "loaded": [name for name in {HEAVY!r} if name in sys.modules]}}))
"""
# numpy is there before, since making the frame needs it; a user's program has its frame from somewhere else.
FIRST_MASK = """
import json, sys, time
import edgeseg
import numpy
segmenter = edgeseg.load(sys.argv[1])
result = segmenter(numpy.full((720, 1280, 3), 127, numpy.uint8))
at = time.monotonic()
backend = segmenter.backend
print(json.dumps({"at": at, "shape": result.label_map.shape, "runs": f"{backend.name} {backend.manifest.precision}"}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    cores = keep_two_cores()
    seconds: dict[str, list[float]] = {"import_adds": [], "first_mask_cached": [], "first_mask_cold": [], "cli_run": []}
    said = loaded = runs = ""
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm"
        first_mask(args.model, warm)
        for turn in range(args.rounds):
            tell(f"round {turn + 1} of {args.rounds}")
            found, _, _ = start(["-c", IMPORT], warm)
            seconds["import_adds"].append(found["s"])
            loaded = loaded or ", ".join(found["loaded"])
            cached_s, runs, told = first_mask(args.model, warm)
            seconds["first_mask_cached"].append(cached_s)
            said = said or ("measured again" if "measuring" in told else "")
            cold_s, _, cold_told = first_mask(args.model, Path(folder) / f"cold-{turn}")
            seconds["first_mask_cold"].append(cold_s)
            seconds["cli_run"].append(cli_run(args.model, warm))
    figures = {f"{name}_s": spread(values) for name, values in seconds.items()}
    # The slowest start counts, not the median: a limit on waiting is one on every wait.
    met = {name: max(seconds[name]) < limit for name, limit in LIMITS_S.items()}
    met |= {"import_loads_nothing_heavy": not loaded, "cached_start_measures_nothing": not said}
    body = {
        "model": args.model,
        "auto_runs": runs,
        "cold_says": cold_told.strip().splitlines(),
        "cores_used": cores,
        "seconds": figures,
        "limits_s": LIMITS_S,
        "met": met,
    }
    for name, found in figures.items():
        print(f"{name:20} median {found['median']:.3f}  max {found['max']:.3f}")
    print(f"met: {met}\nwritten: {write_result('startup', body)}")
    return 0 if all(met.values()) else 5


def start(arguments: list[str], cache: Path) -> tuple[dict[str, Any], float, str]:
    """Run Python once: (its last line as JSON, when it was started on the monotonic clock, its standard error)."""
    environment = os.environ | {"EDGESEG_CACHE": str(cache)}
    began = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), began, done.stderr


def first_mask(model: str, cache: Path) -> tuple[float, str, str]:
    """(seconds from the start of a process to its first mask, what `auto` runs, what it said meanwhile)."""
    found, began, told = start(["-c", FIRST_MASK, model], cache)
    return found["at"] - began, found["runs"], told


def cli_run(model: str, cache: Path) -> float:
    """Seconds that `edgeseg run` takes from start to end for one frame."""
    environment = os.environ | {"EDGESEG_CACHE": str(cache)}
    command = [sys.executable, "-m", "edgeseg", "run", "synthetic:1280x720", "--max-frames", "1", "--model", model]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
