"""Frames a second of every shipped model, as `edgeseg run` has them: file in, masks as lines out.

    python benchmarks/model_rates.py [--frames 200]     writes benchmarks/results/model_rates.json

The clip is a street with people; each model runs the whole pipeline on it with what `auto` chooses here, results into
JSON lines; of tiled models a tenth of the frames. Models one after the other, three times over; the median counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import keep_two_cores, tell, write_result

from edgeseg.cli.output import table
from edgeseg.data.shared import shared_root
from edgeseg.runtime.segmenter import manifest_of
from edgeseg.runtime.zoo import list_models

CLIP, ROUNDS = "clips/pedestrians-vtest.mp4", 3


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    frames = parser.parse_args().frames
    cores = keep_two_cores()
    found: dict[str, list[dict[str, Any]]] = {str(card["name"]): [] for card in list_models()}
    for _ in range(ROUNDS):
        for name, runs in found.items():
            # Tiles take their time.
            runs.append(run(name, frames // 10 if manifest_of(name).tiled else frames))
            tell(f"{name}: {runs[-1]['throughput_fps']:.1f} frames a second")
    rows = []
    for name, runs in found.items():
        manifest = manifest_of(name)
        rows.append(
            {
                "model": name,
                "input": [manifest.height, manifest.width],
                "tiled": manifest.tiled,
                "backend": runs[-1]["backend"],
                "precision": runs[-1]["precision"],
                "frames_per_second": statistics.median(one["throughput_fps"] for one in runs),
                "each": [one["throughput_fps"] for one in runs],
            }
        )
    print(table(["model", "backend", "precision", "frames/s"], [[*_words(row)] for row in rows]))
    write_result("model_rates", {"clip": CLIP, "frames": frames, "cores_used": cores, "rows": rows})


def run(model: str, frames: int) -> dict[str, Any]:
    """Figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.json"
        words = ["run", str(shared_root() / CLIP), "--model", model, "--max-frames", str(frames)]
        words += ["--jsonl", str(Path(folder) / "out.jsonl"), "--stats", str(stats)]
        subprocess.run([sys.executable, "-m", "edgeseg", *words], check=True, stdout=subprocess.DEVNULL)
        figures: dict[str, Any] = json.loads(stats.read_text(encoding="utf-8"))
        return figures


def _words(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["model"], row["backend"], row["precision"], f"{row['frames_per_second']:.1f}"


if __name__ == "__main__":
    main()
