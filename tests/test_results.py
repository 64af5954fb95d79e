"""Benchmarks' result files: each says which commit it was measured at, where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.checkout


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import common as module

    return module


def test_every_result_says_which_commit_it_is_of_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, common: Any
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(common, "HERE", tmp_path)

    def written() -> Any:
        return json.loads(common.write_result("some", {"rows": [1]}).read_text())["revision"]

    # Nothing above a test's folder is a checkout, as in an unpacked archive; and a machine may have no git at all.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert written() is None
    if shutil.which("git") is not None:
        git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@localhost"]
        (tmp_path / "file").write_text("1")
        for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
        assert commit.startswith(written()) and len(written()) == 12
        (tmp_path / "file").write_text("2")
        assert written() == f"{commit[:12]}-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert written() is None


def test_the_page_on_streams_takes_results_of_before_and_after_oversubscribed_cameras(
    monkeypatch: pytest.MonkeyPatch, common: Any
) -> None:
    import streams_text

    ages = {"slowest_of_fastest": 0.9, "age_taken_p95_ms": 9.0, "frame_age_p95_ms": 19.0}
    before = {"total_fps": 120.0, **ages, "batched": {"total_fps": 119.0, **ages}}
    beyond = {"fps": 190, "total_fps": 301.0, **ages, "batched": {"total_fps": 402.0, **ages}}
    for rounds, shown in (([before], False), ([{**before, "oversubscribed": beyond}] * 3, True)):
        body = {"summary": ["eight cameras"], "batch": 4, "rounds": rounds}
        monkeypatch.setattr(streams_text, "load", lambda name, body=body: body if name == "streams" else {})
        page = streams_text.streams_page("some machine", "")
        assert "- eight cameras" in page and "in batches of 4 | 119.0 | 0.90 | 9.0 | 19.0 |" in page
        assert ("more than the model takes (190 fps each), in batches of 4 | 402.0 |" in page) == shown
        assert "other processes" not in page
