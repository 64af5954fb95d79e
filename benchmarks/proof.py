"""Runs all that cpp_ext is proved with on a machine without a GPU, and writes what came out: `make proof`.

    python benchmarks/proof.py [WORD ...]

Each WORD of the Makefile runs by itself, all of them unless some are named; one that fails does not keep the others
from running, and makes the exit status 1. benchmarks/results/proof.json gets, for each: the commit that it ran on, its
exit status and seconds, the counts that the tests printed, the kernels by GPU with registers and spills as ptxas has
them, NVRTC's kernels, the cells of headers by libraries, x86-64 and aarch64, and label maps of both. What was not
named stays in the file as it was.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import RESULTS, revision, tell, write_result

CHECKOUT = Path(__file__).resolve().parents[1]
FILE = RESULTS / "proof.json"


def main() -> int:
    """Every word, then the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"of {', '.join(WORDS)}")
    words = parser.parse_args().words or list(WORDS)
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        parser.error(f"no such word: {', '.join(unknown)}")
    found = {word: run(word) for word in words}
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    kept = {word: before[word] for word in WORDS if word in before}
    tell(str(write_result(FILE.stem, {word: (kept | found)[word] for word in WORDS if word in kept | found})))
    return 1 if any(one["exit_status"] for one in found.values()) else 0


def run(word: str) -> dict[str, Any]:
    """One word of the Makefile: how it ended, and its figures."""
    started, lines, commit = time.monotonic(), [], revision()
    command = ["make", "--no-print-directory", word]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    seconds = round(time.monotonic() - started, 1)
    report: dict[str, Any] = {"revision": commit, "exit_status": process.returncode, "seconds": seconds}
    return report if process.returncode else report | WORDS[word](lines)


def kernels(_: list[str]) -> dict[str, Any]:
    """Of each GPU: kernels, how many spill, the most registers of one."""
    counts: dict[str, dict[str, int]] = {}
    gpu = {"kernels": 0, "spilling": 0, "most_registers": 0}
    for line in (CHECKOUT / "build" / "ptxas.txt").read_text(encoding="utf-8").splitlines():
        entry = re.search(r"Compiling entry function '\w+' for '(\w+)'", line)
        if entry:
            gpu = counts.setdefault(entry[1], {"kernels": 0, "spilling": 0, "most_registers": 0})
            gpu["kernels"] += 1
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)
        if spills and (int(spills[1]) or int(spills[2])):
            gpu["spilling"] += 1
        registers = re.search(r"Used (\d+) registers", line)
        if registers:
            gpu["most_registers"] = max(gpu["most_registers"], int(registers[1]))
    return {"gpus": dict(sorted(counts.items(), key=lambda item: int(item[0][3:])))}


def tests(lines: list[str]) -> dict[str, Any]:
    """What each test program counted, and which were skipped and why."""
    found: dict[str, Any] = {"programs": {}, "skipped": []}
    for line in lines:
        counts = re.search(r"(\w+): (\d+) checks, (\d+) failed$", line)
        if counts:
            found["programs"][counts[1]] = {"checks": int(counts[2]), "failed": int(counts[3])}
        reason = re.search(r"skipped: (.+)$", line)
        if reason:
            found["skipped"].append(reason[1])
    return found


def nvrtc(lines: list[str]) -> dict[str, Any]:
    """Kernels that NVRTC compiled, by GPU."""
    rows = [re.search(r"NVRTC ([\d.]+), (sm_\d+): (\d+) kernels", line) for line in lines]
    return {"gpus": {row[2]: {"nvrtc": row[1], "kernels": int(row[3])} for row in rows if row}}


def matrix(_: list[str]) -> dict[str, Any]:
    """The cells as plugin_matrix.py has them: `outcome` from Python, `from_cpp` by load_plugin."""
    cells = json.loads((CHECKOUT / "build" / "plugin-matrix.json").read_text(encoding="utf-8"))
    keys = ("headers", "library", "must", "outcome", "from_cpp")
    return {"cells": [{key: cell[key] for key in keys} for cell in cells]}


def aarch64(lines: list[str]) -> dict[str, Any]:
    """The tests under qemu, the same cells there, and label maps beside this machine's."""
    rows = [re.fullmatch(r"aarch64: headers ([\d.]+), library ([\d.]+): (.+)", line) for line in lines]
    cells = [{"headers": row[1], "library": row[2], "outcome": row[3]} for row in rows if row]
    maps = [re.search(r"aarch64, (\w+): ([\d.]+) % of (\d+) pixels are equal in (\d+) frames", line) for line in lines]
    equal = {
        row[1]: {"equal_percent": float(row[2]), "pixels": int(row[3]), "frames": int(row[4])} for row in maps if row
    }
    return tests(lines) | {"cells": cells, "label_maps": equal}


WORDS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "ext": kernels,
    "test-ext": tests,
    "test-nvrtc": nvrtc,
    "plugin-matrix": matrix,
    "test-aarch64": aarch64,
}

if __name__ == "__main__":
    sys.exit(main())
