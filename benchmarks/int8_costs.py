"""What int8 costs a shipped model: the file that ships, a user's plain calibration, and each layer by itself.

    python benchmarks/int8_costs.py [--model road]     writes benchmarks/results/int8_costs.json

The plain file is made by `edgeseg calibrate` and `edgeseg quantize` with default options, as README shows them, on
the model's training pictures. Scores are those of `edgeseg eval` on the test split. Layers are swept on pictures of the
validation split, or on those of the training split that the recipe holds back, each alone in int8 with all others in
float. Exit code 5 where int8 loses more than the limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from common import RESULTS, tell, write_result

from edgeseg.calib.ranges import Ranges
from edgeseg.cli.output import table
from edgeseg.cli.quantize import SWEPT_ON, score
from edgeseg.data.shared import shared_root
from edgeseg.export.quantize import quantize
from edgeseg.export.sensitivity import fingerprint, sweep_layers
from edgeseg.runtime.zoo import find_model

# Per model: the set, the split that is reported, the one for layers, and how far apart its pictures are taken.
SETS = {"road": ("camvid", "test", "val", 1), "membrane": ("isbi2012-membrane", "val", "train", 6)}
BACKENDS = ("onnxruntime", "openvino")
LIMIT_POINTS = 0.5


def main() -> int:
    """Make the plain file, measure all, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="road", choices=list(SETS))
    model = parser.parse_args().model
    name, reported, swept, step = SETS[model]
    data = shared_root() / "data" / name
    files = find_model(model).files
    with tempfile.TemporaryDirectory() as folder:
        ranges, plain = Path(folder) / "ranges.json", Path(folder) / "plain.int8.onnx"
        edgeseg("calibrate", files["fp32"], "--frames", data, "--split", "train", "-o", ranges)
        edgeseg("quantize", files["fp32"], "--ranges", ranges, "-o", plain)
        candidates = {"fp32": files["fp32"], "int8 that ships": files["int8"], "int8, plain": plain}
        scores = {
            label: {backend: evaluated(path, backend, data, reported) for backend in BACKENDS}
            for label, path in candidates.items()
        }
        kept = thinned(data, swept, step, Path(folder) / name)
        pictures = min(SWEPT_ON, len((kept / f"{swept}.txt").read_text(encoding="utf-8").splitlines()))
        layers = swept_layers(files["fp32"], ranges, plain, kept, swept)
    lost = {
        label: {backend: 100 * (scores["fp32"][backend] - own[backend]) for backend in BACKENDS}
        for label, own in scores.items()
        if label != "fp32"
    }
    rows = [[label, *(f"{100 * own[backend]:.2f}" for backend in BACKENDS)] for label, own in scores.items()]
    print(table([f"mIoU of {model}, {name} {reported}", *BACKENDS], rows))
    print(table(["layer", "points lost with it alone in int8"], [[row["layer"], row["drop_points"]] for row in layers]))
    met = all(value <= LIMIT_POINTS for own in lost.values() for value in own.values())
    body = {"data": name, "split": reported, "miou": scores, "points_lost": lost}
    body |= {"limit_points": LIMIT_POINTS, "met": met, "swept_on": {"split": swept, "pictures": pictures}}
    path = RESULTS / "int8_costs.json"
    others = json.loads(path.read_text(encoding="utf-8"))["models"] if path.is_file() else {}
    write_result("int8_costs", {"models": others | {model: {**body, "layers": layers}}})
    return 0 if met else 5


def thinned(data: Path, split: str, step: int, folder: Path) -> Path:
    """A folder like the set, with each `step`-th picture of the split alone."""
    folder.mkdir()
    for entry in data.iterdir():
        if entry.name != f"{split}.txt":
            (folder / entry.name).symlink_to(entry.resolve())
    names = (data / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    (folder / f"{split}.txt").write_text("\n".join(names[::step]) + "\n", encoding="utf-8")
    return folder


def edgeseg(*words: object) -> str:
    """A command as users give it; its standard output."""
    tell(" ".join(("edgeseg", *map(str, words))))
    command = [sys.executable, "-m", "edgeseg", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def evaluated(path: Path, backend: str, data: Path, split: str) -> float:
    """mIoU, 0 to 1, by `edgeseg eval`."""
    words = ("--model", path, "--backend", backend, "--data", data, "--split", split, "--json", "-")
    return float(json.loads(edgeseg("eval", *words))["miou"])


def swept_layers(model: Path, ranges: Path, plain: Path, data: Path, split: str) -> list[dict[str, Any]]:
    """What each layer costs, the costliest first."""
    known = Ranges.load(ranges)
    layers = quantize(model, known, plain).int8
    found = sweep_layers(
        model,
        known,
        layers,
        partial(score, data=data, split=split, count=SWEPT_ON),
        fingerprint(data, split, SWEPT_ON),
        on_layer=lambda done, total: tell(f"layer {done} of {total}"),
    )
    return [asdict(item) for item in sorted(found, key=lambda item: -item.drop_points)]


if __name__ == "__main__":
    sys.exit(main())
