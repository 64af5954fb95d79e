"""Which build of the plugin loads in which TensorRT: one row a set of headers, one column a library.

    python cpp_ext/tests/plugin_matrix.py BUILD TENSORRT [--json OUT]

BUILD holds libedgeseg_plugin_VERSION.so and load_plugin_VERSION (`-DEDGESEG_MATRIX=...`), TENSORRT the folders of
`make tensorrt`. Each cell is tried from Python and from C++. One whose headers are not newer than the library must
load and make both plugins in both, else the exit status is 1; the others are shown as they come out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LOADER = Path(__file__).resolve().parent / "load_in_tensorrt.py"
PLUGINS = ("UpsampleCropConcat", "LabelMap")
MADE = "both made"


def main() -> int:
    """Try every cell, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("tensorrt", type=Path)
    parser.add_argument("--json", type=Path, metavar="OUT", help="the cells, as a list")
    args = parser.parse_args()
    built = {version_of(path.stem): path for path in args.build.glob("libedgeseg_plugin_[0-9]*.so")}
    present = {version_of(path.parent.name): path.parent for path in args.tensorrt.glob("[0-9]*/complete")}
    if not built or not present:
        print(
            f"error: nothing to try: {len(built)} builds, {len(present)} TensorRTs. Run make plugin-matrix.",
            file=sys.stderr,
        )
        return 1
    cells = [
        try_cell(headers, library, built[headers], present[library])
        | {"from_cpp": try_from_cpp(loader_for(library, args.build), built[headers], present[library])}
        for headers in sorted(built)
        for library in sorted(present)
    ]
    print("headers  " + "".join(f"TensorRT {text(library)} from Python, C++".ljust(36) for library in sorted(present)))
    for headers in sorted(built):
        row = [f"{cell['outcome']}, {cell['from_cpp']}" for cell in cells if cell["headers"] == text(headers)]
        print(f"{text(headers):<9}" + "".join(f"{outcomes:<36}" for outcomes in row))
    if args.json:
        args.json.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    wrong = [cell for cell in cells if cell["must"] and (cell["outcome"], cell["from_cpp"]) != (MADE, MADE)]
    print(f"{len(cells)} cells, {sum(cell['must'] for cell in cells)} of them must load, {len(wrong)} do not")
    return 1 if wrong else 0


def try_cell(headers: tuple[int, ...], library: tuple[int, ...], plugin: Path, folder: Path) -> dict[str, Any]:
    """One build in one TensorRT, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    command = [sys.executable, str(LOADER), str(plugin)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        outcome, found = f"exit {done.returncode}", {"stderr": lines[-1] if lines else ""}
    else:
        found = json.loads(done.stdout)
        made = [name for name in PLUGINS if found[name] and found[name]["created"] and found[name]["refused"]]
        outcome = MADE if len(made) == len(PLUGINS) else "loaded" if found["loaded"] else "not loaded"
    return {"headers": text(headers), "library": text(library), "must": headers <= library, "outcome": outcome, **found}


def loader_for(library: tuple[int, ...], build: Path) -> Path | None:
    """The newest load_plugin whose headers the library serves: of its major version, since the registry changed."""
    loaders = {version_of(path.name): path for path in build.glob("load_plugin_[0-9]*")}
    fitting = [version for version in loaders if version[0] == library[0] and version <= library]
    return loaders[max(fitting)] if fitting else None


def try_from_cpp(loader: Path | None, plugin: Path, folder: Path) -> str:
    """The same cell by a program of C++."""
    if loader is None:
        return "no load_plugin"
    paths = sorted((folder / "lib").glob("libnvinfer.so.*"))
    command = [str(loader), *map(str, paths[:1]), str(plugin)]
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder / "lib")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    return f"exit {done.returncode}" if done.returncode else MADE


def version_of(name: str) -> tuple[int, ...]:
    """(10, 6) for "10.6" and "libedgeseg_plugin_10.6"."""
    return tuple(int(part) for part in name.rpartition("_")[2].split("."))


def text(version: tuple[int, ...]) -> str:
    """The other way round."""
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main())
