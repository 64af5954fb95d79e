"""Do two runs of `edgeseg bench` on this machine say the same? Largest difference of any median between them.

    python benchmarks/bench_twice.py        writes benchmarks/results/bench_twice.json; nothing else should run

Exit code 5 where a median of engine or end to end differs by more than a tenth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import keep_two_cores, tell, write_result

LIMIT = 0.10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    args = parser.parse_args()
    keep_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        runs = [medians(args.model, Path(folder) / f"{number}.json", number) for number in (1, 2)]
    compared = {
        key: {"first_ms": first, "second_ms": runs[1][key], "apart": abs(runs[1][key] / first - 1)}
        for key, first in runs[0].items()
    }
    for key, row in compared.items():
        print(f"{key:28} {row['first_ms']:6.2f} ms  {row['second_ms']:6.2f} ms  {100 * row['apart']:5.1f} % apart")
    met = max(row["apart"] for row in compared.values()) <= LIMIT
    print(f"wanted: within {100 * LIMIT:.0f} %: {'met' if met else 'missed'}")
    print(f"written: {write_result('bench_twice', {'model': args.model, 'limit': LIMIT, 'p50': compared, 'met': met})}")
    return 0 if met else 5


def medians(model: str, path: Path, number: int) -> dict[str, float]:
    """p50 in milliseconds of each backend and precision, engine and end to end, from a run of its own."""
    tell(f"run {number} of 2")
    command = [sys.executable, "-m", "edgeseg", "bench", "--model", model, "--backend", "all", "--precision", "all"]
    subprocess.run([*command, "--json", str(path)], check=True, stdout=subprocess.DEVNULL)
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        f"{pair['backend']} {pair['precision']} {span}": float(pair[span]["p50_ms"])
        for pair in body["pairs"]
        for span in ("engine", "end_to_end")
    }


if __name__ == "__main__":
    sys.exit(main())
