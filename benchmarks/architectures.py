"""Parameters, multiply-accumulates and output shapes of every network; nothing is timed.

    python benchmarks/architectures.py [--json benchmarks/results/architectures.json]

Counted by torch (`torch.utils.flop_counter`: convolutions and matrix products, two operations a multiply-accumulate) on
tensors without data; Mask R-CNN on a black picture. `python benchmarks/report.py` writes docs/architectures.md from the
JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
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


def entries() -> Iterator[tuple[str, str, dict[str, Any], int, tuple[int, int]]]:
    """(label, network, arguments, classes, size) of each row."""
    for name in REGISTRY:
        classes, size = OWN.get(name, (CLASSES, SIZE))
        variants = ENCODERS if name == "unet_lite" else [None]
        for encoder in variants:
            label = f"{name} ({encoder})" if encoder else name
            yield label, name, {"encoder": encoder} if encoder else {}, classes, size
    for item in list_models():
        name = item["name"]
        _, manifest = read_model(find_model(name).files["fp32"])
        network = manifest.architecture
        size = (manifest.height, manifest.width)
        if manifest.task != "semantic":
            continue
        classes = 1 if manifest.two_class else len(manifest.class_names)
        yield f"shipped: {name}", network["name"], dict(network.get("args", {})), classes, size


def measure(network: str, arguments: dict[str, Any], classes: int, size: tuple[int, int]) -> dict[str, Any]:
    """Figures of one network for one picture."""
    with torch.device("meta"):
        model = build(network, classes=classes, **arguments).eval()
        picture = torch.zeros(1, model.in_channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = model(picture)
    return {
        "input": list(picture.shape),
        "output": list(logits.shape),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_accumulates": counter.get_total_flops() // 2,
    }


def measure_instances(network: str) -> dict[str, Any]:
    """Figures of one Mask R-CNN in the form that is exported, its layers alone: cutting out regions is not counted."""
    model = build_instance(network, classes=2).eval()
    static = StaticDetector(cast(MaskRCNN, model), *SIZE, DETECTIONS)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        *_, masks = static(torch.zeros(1, 3, *SIZE))
    return {
        "input": [1, 3, *SIZE],
        "output": list(masks.shape),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "multiply_accumulates": counter.get_total_flops() // 2,
    }


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=str(Path(__file__).parent / "results" / "architectures.json"))
    args = parser.parse_args()
    rows = [
        {"network": label, **measure(network, arguments, classes, size)}
        for label, network, arguments, classes, size in entries()
    ]
    rows += [{"network": name, **measure_instances(name)} for name in INSTANCE_REGISTRY]
    for row in rows:
        size = f"{row['parameters'] / 1e6:8.2f} M {row['multiply_accumulates'] / 1e9:8.2f} G"
        print(f"{row['network']:44s} {size} {row['output']}")
    head = {"command": "python benchmarks/architectures.py", "revision": revision(), "torch": torch.__version__}
    write_json({**head, "rows": rows}, args.json)


if __name__ == "__main__":
    main()
