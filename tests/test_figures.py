"""README and cards say what the JSON of the benchmarks says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[1] / "benchmarks" / "report.py"


def test_readme_and_cards_come_from_the_json() -> None:
    if not REPORT.is_file():
        pytest.skip("benchmarks/ is not here: these tests run from an installed package")
    pytest.importorskip("onnx", reason="onnx, which reads the manifests for the cards, is not installed")
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    done = subprocess.run([sys.executable, str(REPORT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
