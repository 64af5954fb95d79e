"""Every metric of every shipped model, and of candidates beside them, on test splits, at each picture's own size.

    python benchmarks/accuracy.py [--models NAME …]     writes benchmarks/results/accuracy.json

What is measured stands in benchmarks/accuracy.yaml; `python benchmarks/report.py` writes benchmarks/accuracy.md from
the JSON. Rows of models that are not named stay as they were.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from common import HERE, RESULTS, tell, write_result

from edgeseg.data.evaluate import evaluate
from edgeseg.data.evaluate_instances import evaluate_instances
from edgeseg.data.shared import shared_root
from edgeseg.errors import EdgeSegError
from edgeseg.runtime.segmenter import manifest_of, open_segmenter
from edgeseg.runtime.zoo import find_model

BOUNDARY_PX = 3


def main() -> int:
    """Measure what the YAML file lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = yaml.safe_load((HERE / "accuracy.yaml").read_text(encoding="utf-8"))
    listed, others = asked["models"], asked["files"]
    parser.add_argument("--models", nargs="+", default=list(listed), choices=list(listed))
    parser.add_argument("--backend", default="onnxruntime", help="whose arithmetic is measured")
    args = parser.parse_args()
    path = RESULTS / "accuracy.json"
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = [row for row in old if row["model"] not in args.models]
    try:
        for model in args.models:
            file = str(HERE.parent / others[model]) if model in others else model
            precisions = [manifest_of(file).precision] if model in others else find_model(model).files
            for precision in precisions:
                rows += [measure(model, file, args.backend, precision, part) for part in listed[model]]
    except EdgeSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    rows.sort(key=lambda row: (list(listed).index(row["model"]), row["figures"]["data"]))
    print(f"written: {write_result('accuracy', {'boundary_px': BOUNDARY_PX, 'rows': rows})}")
    return 0


def measure(model: str, file: str, backend: str, precision: str, part: dict[str, str]) -> dict[str, Any]:
    """Figures of one model file, by its name or path, on one split."""
    folder: Path = shared_root() / part["data"]
    instance = manifest_of(file).task == "instance"
    tell(f"{model} {precision} on {part['data']} {part['split']}")
    with open_segmenter(file, backend, precision, threshold=0.0 if instance else None) as segmenter:
        if instance:
            counted = segmenter.manifest.threshold
            body = evaluate_instances(segmenter, folder, part["split"], threshold=counted).to_dict()
        else:
            body = evaluate(segmenter, folder, part["split"], boundary_px=BOUNDARY_PX).to_dict()
    body.pop("worst_images", None)
    return {"model": model, "backend": backend, "precision": precision, "figures": body}


if __name__ == "__main__":
    sys.exit(main())
