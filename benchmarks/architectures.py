"""Parameters, multiply-accumulates and output shapes of every network; nothing is timed.

    python benchmarks/architectures.py [--json benchmarks/results/architectures.json]

Counted by torch (`torch.utils.flop_counter`: convolutions and matrix products, two operations a multiply-accumulate) on
tensors without data; Mask R-CNN on a black picture. `python benchmarks/report.py` writes docs/architectures.md from the
JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from common import revision
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.calib.model_file import read_model
from edgeseg.cli.output import write_json
from edgeseg.export.static_detector import StaticDetector
from edgeseg.models import INSTANCE_REGISTRY, REGISTRY, build, build_instance
from edgeseg.models.encoders import ENCODERS
from edgeseg.models.maskrcnn import MaskRCNN
from edgeseg.runtime.zoo import find_model, list_models

CLASSES, SIZE, DETECTIONS = 11, (384, 480), 100
# The classic U-Net is shown as published.
OWN = {"unet": (2, (572, 572)), "unet_video": (1, SIZE)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a network with its arguments, as it is exported. `detections` is None where it gives label maps."""

    label: str
    network: str
    arguments: dict[str, Any]
    classes: int
    size: tuple[int, int]
    detections: int | None = None


def entries() -> Iterator[Entry]:
    """Networks that give label maps, what ships, networks that give instances."""
    for name in REGISTRY:
        classes, size = OWN.get(name, (CLASSES, SIZE))
        variants = ENCODERS if name == "unet_lite" else [None]
        for encoder in variants:
            label = f"{name} ({encoder})" if encoder else name
            yield Entry(label, name, {"encoder": encoder} if encoder else {}, classes, size)
    for item in list_models():
        _, manifest = read_model(find_model(item["name"]).files["fp32"])
        network, size = manifest.architecture, (manifest.height, manifest.width)
        instance = manifest.task == "instance"
        classes = 1 if manifest.two_class else len(manifest.class_names)
        label, arguments = f"shipped: {item['name']}", dict(network.get("args", {}))
        detections = manifest.max_detections if instance else None
        yield Entry(label, network["name"], arguments, classes, size, detections)
    for name in INSTANCE_REGISTRY:
        yield Entry(name, name, {}, 2, SIZE, DETECTIONS)


def measure(entry: Entry) -> dict[str, Any]:
    """Figures of one network for one picture.

    A Mask R-CNN is counted in the form that is exported, its layers alone: cutting out regions is not counted.
    """
    model: torch.nn.Module
    if entry.detections is None:
        with torch.device("meta"):
            model = build(entry.network, classes=entry.classes, **entry.arguments).eval()
            picture = torch.zeros(1, model.in_channels, *entry.size)
        run = model
    else:
        model = build_instance(entry.network, classes=entry.classes, **entry.arguments).eval()
        picture = torch.zeros(1, 3, *entry.size)
        run = StaticDetector(cast(MaskRCNN, model), *entry.size, entry.detections)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        found = run(picture)
    return {
        "network": entry.label,
        "input": list(picture.shape),
        "output": list((found if entry.detections is None else found[-1]).shape),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_accumulates": counter.get_total_flops() // 2,
    }


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=str(Path(__file__).parent / "results" / "architectures.json"))
    args = parser.parse_args()
    rows = [measure(entry) for entry in entries()]
    for row in rows:
        size = f"{row['parameters'] / 1e6:8.2f} M {row['multiply_accumulates'] / 1e9:8.2f} G"
        print(f"{row['network']:44s} {size} {row['output']}")
    head = {"command": "python benchmarks/architectures.py", "revision": revision(), "torch": torch.__version__}
    write_json({**head, "rows": rows}, args.json)


if __name__ == "__main__":
    main()
