"""The watcher of long runs: a short run of the real thing is level, and what grows is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not here: these tests run from an installed package")
    monkeypatch.syspath_prepend(BENCHMARKS)
    import soak as module

    return module


def test_a_short_run_is_level(tmp_path: Path, tiny_model: Path, soak) -> None:  # type: ignore[no-untyped-def]
    """Some thousand frames; what a process still sets up at their beginning is longer than a twentieth of them."""
    out = tmp_path / "soak.json"
    words = [sys.executable, str(BENCHMARKS / "soak.py"), "--frames", "2000", "--first", "0.5", "--json", str(out)]
    done = subprocess.run(
        [*words, "--model", str(tiny_model), "--backend", "onnxruntime"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    body = json.loads(out.read_text())
    many, streams = body["runs"]["files"], body["runs"]["streams"]
    assert body["met"] and many["files"] == {"masks": 2000, "lines": 2000, "pictures": 2000}
    assert streams["files"] == {"masks": 2000, "pictures": 2000, "recorded": 2000}
    assert len(many["outputs"]) == 6 and {"standard output", "recording"} < set(streams["outputs"])
    for run in body["runs"].values():
        assert set(run["outputs"].values()) == {2000} and run["pictures_viewed"] > 3
        assert run["begin"]["handles"] > 3 and run["begin"]["threads"] > 3 and run["begin"]["resident_mb"] > 20
        assert len(run["curve_mb"]) >= 3


def test_what_grows_is_seen(soak) -> None:  # type: ignore[no-untyped-def]
    def run(**growth: int) -> dict[str, bool]:
        samples = [
            soak.Sample(
                k / 1000,
                100_000_000 + k * growth.get("resident", 0),
                9 + k * growth.get("threads", 0) // 500,
                30 + k * growth.get("handles", 0) // 500,
            )
            for k in range(1, 1000)
        ]
        return dict(soak.judge(samples)["met_each"])

    assert run() == run(resident=2000) == {"memory": True, "threads": True, "handles": True}
    assert run(resident=2500) == {"memory": False, "threads": True, "handles": True}
    assert not run(threads=1)["threads"] and not run(handles=1)["handles"]
