"""Worker processes that wait on their standard input, so that only the one that is asked uses the processor.

A request is a line of JSON, and so is the answer: {"candidate": NAME, "calls": N, "warm": M} -> {"ms": [...]}. When a
worker is ready it says {"candidates": [...], ...}. Closing its standard input ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseg.errors import EdgeSegError


class Worker:
    """One process; `ready` is what it said about itself.

    Args:
        name: for errors and for the file of its messages.
        command: what to run.
        log: gets its standard error, which native libraries fill with chatter.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name, self._log = name, log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.ready: dict[str, Any] = self._answer()

    def time(self, candidate: str, calls: int, warm: int) -> list[float]:
        """Milliseconds of each of `calls` calls in a row, after `warm` that do not count."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"candidate": candidate, "calls": calls, "warm": warm}) + "\n")
        self._process.stdin.flush()
        return [float(value) for value in self._answer()["ms"]]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            raise EdgeSegError(f"the worker {self.name} ended", " | ".join(tail).rstrip("."), f"See {self._log}")
        return dict(json.loads(line))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def make_environment(folder: Path, requirement: str, python: str = ">=3.9,<3.13") -> Path:
    """A virtual environment with one package and what it needs; kept for the next time. Returns its Python."""
    interpreter = folder / "bin" / "python"
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == requirement:
        return interpreter
    uv = _find_uv()
    # Made with a Python that has wheels of the package; uv fetches one if this machine has none.
    environment = {key: value for key, value in os.environ.items() if key != "UV_PYTHON_DOWNLOADS"}
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", python, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(interpreter), requirement],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise EdgeSegError(f"cannot install {requirement}", done.stderr.strip(), "See what uv says, then try again")
    stamp.write_text(requirement, encoding="utf-8")
    return interpreter


def _find_uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise EdgeSegError("uv is not installed", "", "Run make setup, or pip install uv")
    return found


def best_order(names: Mapping[str, object], number: int) -> list[str]:
    """The candidates of one round: forwards, backwards, forwards, so that a drift falls on all alike."""
    return list(names) if number % 2 == 0 else list(names)[::-1]
