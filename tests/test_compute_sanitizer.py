"""cpp_ext/tests/compute_sanitizer.sh on stand-ins of the tool, which needs a GPU: when it passes, fails and skips.

On a GPU `ctest -L gpu` runs it over every test program of the kernels.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "cpp_ext" / "tests" / "compute_sanitizer.sh"
pytestmark = pytest.mark.checkout

RUNS = 'test "$1 $3" = "--tool --error-exitcode" || exit 3; tool=$2 code=$4; shift 4; "$@"'
REFUSES = "echo '========= Error: Device not supported. Please refer to the documentation.'; exit 1"


def run(folder: Path, tool: str | None, program: str, *arguments: str) -> tuple[int, str]:
    """The script's exit status and last line, with a tool of that body, and a program of that body under it."""
    for name, body in (("compute-sanitizer", tool), ("program", program)):
        if body is not None:
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)
    environment = os.environ | {"COMPUTE_SANITIZER": str(folder / "compute-sanitizer")}
    command = ["sh", SCRIPT, "racecheck", folder / "program", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).splitlines()[-1]


def test_a_program_that_passes_under_it(tmp_path: Path) -> None:
    program = 'test "$1" = "cases of it" && echo "labels: 12 checks, 0 failed"'
    assert run(tmp_path, RUNS, program, "cases of it") == (0, "racecheck: nothing found")


def test_what_it_finds_fails_the_test(tmp_path: Path) -> None:
    finds = f'{RUNS}; echo "$tool\'s finding"; exit $code'
    assert run(tmp_path, finds, "echo 'labels: 12 checks, 0 failed'") == (99, "racecheck's finding")
    assert run(tmp_path, RUNS, "echo 'labels: 12 checks, 1 failed'; exit 1") == (1, "labels: 12 checks, 1 failed")


def test_a_tool_that_runs_nothing_is_no_pass(tmp_path: Path) -> None:
    status, line = run(tmp_path, "echo '========= ERROR SUMMARY: 0 errors'", "true")
    assert status == 1 and line.startswith("error: racecheck: the program did not come to its end: ")


def test_what_it_skips_and_why(tmp_path: Path) -> None:
    assert run(tmp_path, REFUSES, "true") == (77, "skipped: racecheck: compute-sanitizer does not accept this device")
    no_gpu = "echo 'skipped: no GPU: there is no driver'; exit 77"
    assert run(tmp_path, RUNS, no_gpu) == (77, "skipped: no GPU: there is no driver")
    (tmp_path / "compute-sanitizer").unlink()
    status, line = run(tmp_path, None, "true")
    assert status == 77 and line.startswith("skipped: racecheck: compute-sanitizer is not installed")
