"""Candidates side by side: the shipped model on validation pictures and on scenes that are the same each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.checkout
def test_files_are_judged_on_the_same_scenes(shared: Path, tmp_path: Path) -> None:
    model = ROOT / "edgeseg" / "zoo" / "person" / "model.onnx"
    words = [sys.executable, str(ROOT / "recipes" / "judge.py"), "--data", str(shared), "--scenes", "3"]
    words += ["--backend", "onnxruntime"]
    done = subprocess.run([*words, str(model), str(model)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.strip().splitlines()
    first, again = ([float(cell) for cell in row.split()[1:]] for row in rows)
    assert header.split("  ")[0] == "IoU in %" and first == again and len(first) == 5
    assert first[0] > 94 and first[1] > 92 and all(30 < value <= 100 for value in first)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    done = subprocess.run([*words, str(broken)], capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "broken.onnx" in done.stderr
