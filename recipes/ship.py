"""From a finished run to the models that ship: equalize, export at each size, calibrate on training pictures, quantize.

    python recipes/ship.py runs/person/last.pt --data ../shared

Writes edgeseg/zoo/NAME/{model.onnx,model.int8.onnx} and the run's log beside them, for each model that the recipe's
`.about.yaml` says it ships; `python benchmarks/quality.py` (people) or `accuracy.py`, then `report.py`, write the
cards. Calibration pictures come from training sets alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.frames import FrameSet, some_inputs
from edgeseg.data.pool import Pool, SetConfig
from edgeseg.errors import EdgeSegError, InputError
from edgeseg.export.equalize import equalize
from edgeseg.export.from_checkpoint import load_for_export
from edgeseg.export.quantize import quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.models.encoders.efficientnet_lite import EfficientNetLite0
from edgeseg.models.unet_lite import UNetLite
from edgeseg.train.start import normalize

RECIPES = Path(__file__).resolve().parent
ZOO = RECIPES.parent / "edgeseg" / "zoo"
FRAMES_A_SET = 64
# Pictures that channels are equalized and weights rounded on, out of those.
EQUALIZED_ON = ROUNDED_ON = 64


def main() -> int:
    """Make the zoo's files of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the folder that the .about.yaml's paths start from")
    parser.add_argument("--method", default="mse", help="how ranges are chosen")
    args = parser.parse_args()
    try:
        _, manifest = load_for_export(args.checkpoint)
        about = about_run(manifest.name)
        with tempfile.TemporaryDirectory() as folder:
            frames = Path(folder) / "frames"
            frames.mkdir()
            link_pictures(args.data, about["calibrated_on"], frames)
            # Before the first file of the zoo is written.
            commit = revision()
            for name, (height, width) in about["ships"].items():
                own = {key: about[key][name] for key in ("keep_float", "threshold") if name in about.get(key, {})}
                ship(args.checkpoint, name, (height, width), frames, args.method, commit, **own)
    except EdgeSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def about_run(run: str) -> dict[str, Any]:
    """What the `.about.yaml` that speaks of a recipe says, with those of its models alone that this recipe trains."""
    for path in sorted(RECIPES.glob("*.about.yaml")):
        about: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        trained_by = about.get("recipes", {})
        own = path.name.removesuffix(".about.yaml")
        ships = {name: size for name, size in about["ships"].items() if trained_by.get(name, own) == run}
        if ships:
            return about | {"ships": ships}
    raise InputError("no model that ships comes from this recipe", run, f"Write {RECIPES / run}.about.yaml")


def link_pictures(data: Path, sets: list[str], folder: Path) -> None:
    """Every n-th training picture of each set, as many from each."""
    for path in sets:
        samples = Pool(data, SetConfig(path, split="train"), classes=256, cache=False).samples
        for sample in samples[:: max(1, len(samples) // FRAMES_A_SET)][:FRAMES_A_SET]:
            (folder / f"{Path(path).name}-{sample.image.name}").symlink_to(sample.image.resolve())


def ship(
    checkpoint: Path,
    name: str,
    size: tuple[int, int],
    frames: Path,
    method: str,
    commit: str = "",
    keep_float: Sequence[str] = (),
    threshold: float | None = None,
) -> None:
    """Export, calibrate and quantize one model into its folder of the zoo."""
    folder = ZOO / name
    folder.mkdir(parents=True, exist_ok=True)
    network, manifest = load_for_export(checkpoint, size)
    if isinstance(network, UNetLite) and isinstance(network.encoder, EfficientNetLite0):
        pictures = [image for image, _ in FrameSet(frames, count=EQUALIZED_ON).inputs(manifest)]
        rgb = np.concatenate(pictures)[..., ::-1].transpose(0, 3, 1, 2)
        equalize(network, normalize(torch.from_numpy(np.ascontiguousarray(rgb)), network))
    origin = dict(manifest.origin) | {"revision": commit or revision()}
    threshold = manifest.threshold if threshold is None else threshold
    manifest = dataclasses.replace(manifest, name=name, origin=origin, threshold=threshold)
    report = export_onnx(network, manifest, folder / "model.onnx")
    ranges = calibrate(folder / "model.onnx", FrameSet(frames, count=None), method)
    pictures = (
        some_inputs(FrameSet(frames, count=ROUNDED_ON), manifest, ROUNDED_ON) if manifest.task == "semantic" else []
    )
    biases = not trained_for_int8(checkpoint)
    int8 = folder / "model.int8.onnx"
    made = quantize(folder / "model.onnx", ranges, int8, keep_float, pictures=pictures, biases=biases)
    log = checkpoint.with_name("log.jsonl")
    if log.is_file():
        shutil.copyfile(log, folder / "training.jsonl")
    print(f"{name}: against torch {report.label_agreement:.3%} of the labels agree; {len(made.int8)} nodes in int8")


def trained_for_int8(checkpoint: Path) -> bool:
    """Whether its last steps were on int8's rounded values.

    Biases are not corrected then: on the validation sets of `person` that lost more than it gave.
    """
    return bool(torch.load(checkpoint, map_location="cpu", weights_only=True).get("int8_scales"))


def revision() -> str:
    """The checkout's commit, with `-dirty` where tracked files differ from it."""
    command = ["git", "-C", str(RECIPES), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
