"""TensorRT-RTX engines of every shipped semantic model, in each precision, on a machine that needs no GPU for it.

    python benchmarks/engines.py [--json benchmarks/results/engines.json]

`python benchmarks/report.py` writes docs/engines.md from the JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import revision

from edgeseg.cli.output import write_json
from edgeseg.export.build_engine import build_engine
from edgeseg.machine import describe
from edgeseg.manifest import PRECISIONS
from edgeseg.runtime.segmenter import manifest_of
from edgeseg.runtime.zoo import find_model, list_models


def rows() -> Iterator[dict[str, Any]]:
    """One engine after the other."""
    for item in list_models():
        files = find_model(item["name"]).files
        if manifest_of(item["name"]).task != "semantic":
            continue
        for precision in PRECISIONS:
            onnx = files.get("int8" if precision == "int8" else "fp32")
            if onnx is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                manifest = build_engine(onnx, Path(folder) / "model.engine", "tensorrt-rtx", precision)
            built = manifest.origin["engine"]
            kept = ("library", "version", "compute_capability", "layers", "bytes", "build_seconds")
            yield {
                "model": item["name"],
                "precision": precision,
                "onnx_bytes": onnx.stat().st_size,
                **{key: built[key] for key in kept},
            }


def main() -> None:
    """Build, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=str(Path(__file__).parent / "results" / "engines.json"))
    args = parser.parse_args()
    made = []
    for row in rows():
        sizes = f"{row['onnx_bytes'] / 1e6:6.2f} MB -> {row['bytes'] / 1e6:6.2f} MB"
        print(f"{row['model']:20s} {row['precision']}  {sizes} in {row['build_seconds']:.1f} s", flush=True)
        made.append(row)
    head = {"command": "python benchmarks/engines.py", "revision": revision(), "machine": describe()}
    write_json({**head, "rows": made}, args.json)


if __name__ == "__main__":
    main()
