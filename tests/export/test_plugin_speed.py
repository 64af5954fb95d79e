"""The fused step's time on a GPU, by benchmarks/plugin_speed.py: its limits, and on a GPU that they are met."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseg.export.plugin import find_library

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.checkout


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The benchmark, which writes into the test's folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import common
    import plugin_speed

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["plugin_speed.py", "--rounds", "30"])
    return plugin_speed


def rows(share: float, faster: float) -> list[dict[str, Any]]:
    """Made-up figures of two sizes; the first one is well."""
    good = {"deep": [1, 8, 4, 4], "skip": [1, 4, 8, 8], "share_of_copy_bandwidth": 0.9, "times_faster_than_torch": 2.0}
    return [good, good | {"share_of_copy_bandwidth": share, "times_faster_than_torch": faster}]


@pytest.mark.parametrize(
    ("share", "faster", "count"), [(0.75, 1.5, 0), (0.74, 1.5, 1), (0.9, 1.49, 1), (0.1, 0.1, 2), (float("nan"), 2, 1)]
)
def test_a_missed_limit_is_told_and_exit_code_5(
    speed: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    share: float,
    faster: float,
    count: int,
) -> None:
    """The figures are made up, and so is the GPU."""
    assert len(speed.missed(rows(share, faster))) == count
    if share != share:  # no JSON has it
        return
    made = iter(rows(share, faster))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(speed, "measure", lambda *_: next(made))
    monkeypatch.setattr(speed, "SIZES", speed.SIZES[:1])
    assert speed.main() == (5 if count else 0)
    assert capsys.readouterr().err.count("error: a limit was missed: deep [1, 8, 4, 4]") == count
    body = json.loads((tmp_path / "plugin_speed.json").read_text())
    assert body["met"] == (count == 0) and len(body["missed"]) == count and len(body["rows"]) == 2
    assert body["wanted"] == {"share_of_copy_bandwidth": 0.75, "times_faster_than_torch": 1.5}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_or_written(
    speed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main() == 0 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "skipped: there is no NVIDIA GPU\n"


@pytest.mark.gpu
def test_on_a_gpu_the_limits_are_met(speed: Any, tmp_path: Path) -> None:
    if find_library() is None:
        pytest.skip("no plugin library: run make ext")
    status = speed.main()
    body = json.loads((tmp_path / "plugin_speed.json").read_text())
    assert status == 0 and body["met"], body["missed"]
    assert len(body["rows"]) == len(speed.SIZES) * len(speed.CROPS) and body["gpu"]["name"]
    assert all(value > 0 for row in body["rows"] for key, value in row.items() if key.endswith("_p50_us"))
