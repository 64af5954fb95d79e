"""README and cards say what the JSON of the benchmarks says."""

from __future__ import annotations

import json
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


@pytest.mark.checkout
def test_smoothing_is_shown_with_video_consistency_where_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    monkeypatch.syspath_prepend(REPORT.parent)
    import report

    body = json.loads((REPORT.parent / "results" / "temporal.json").read_text(encoding="utf-8"))
    every = [each for figures in body["rows"].values() for each in figures.values()]
    for key in ("vc8", "vc16"):
        for each in every:
            each.pop(key, None)
    monkeypatch.setattr(report, "load", lambda name: body)
    assert "VC8" not in report.smoothing()
    for each in every:
        each |= {"vc8": 0.98765, "vc16": 0.91234}
    lines = [line for line in report.smoothing().splitlines() if line.startswith("|")]
    assert lines[0].count("VC8 and VC16, %") == lines[2].count("| 98.8, 91.2 |") == len(body["rows"]["off"])


@pytest.mark.checkout
def test_counts_of_instances_are_a_sentence_not_a_table_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    monkeypatch.syspath_prepend(REPORT.parent)
    import texts

    counts = {"score": 0.5, "iou": 0.5, "found": 71, "wrong_class": 0, "missed": 3, "false": 12}
    first, told = texts.accuracy_tables({"instances": 74, "mask_ap": 0.5, "box_ap": 0.6, "counts": counts})
    assert "| mask ap | 50.00 |" in first and "| box ap | 60.00 |" in first
    assert told == "Of 74 instances, from score 0.5 and IoU 0.5 on: 71 found, 0 wrong class, 3 missed, 12 false."
