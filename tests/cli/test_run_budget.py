"""`edgeseg run --max-age-ms` as users call it: real models, a camera that is drawn, figures and one line for errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.cli.main import main
from edgeseg.runtime.recording import LINES

CAMERA = "synthetic:320x240@30"


def run(*words: object) -> int:
    """`edgeseg run` in this process, on ONNX Runtime."""
    return main(["run", *map(str, words), "--backend", "onnxruntime"])


def test_a_budget_that_holds_changes_nothing(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats = tmp_path / "stats.json"
    assert run(CAMERA, "--model", tiny_model, "--max-age-ms", 5000, "--max-frames", 30, "--stats", stats) == 0
    out, err = capsys.readouterr()
    figures = json.loads(stats.read_text())
    budget = figures["budget"]
    whole = {"model": "tiny", "height": 32, "width": 32, "one_of": 1}
    assert budget == {
        "max_age_ms": 5000,
        "held": True,
        "cannot": None,
        "late": 0,
        "changes": 0,
        "at_the_end": whole,
        "levels": [{**whole, "results": figures["frames_out"], "late": 0}],
    }
    assert err == "" and f"budget 5000 ms: {figures['frames_out']} of {figures['frames_out']} results in time" in out
    assert figures["skipped"] == 0


def test_a_budget_that_no_model_holds_is_kept_in_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape, stats = tmp_path / "tape", tmp_path / "stats.json"
    words = ("--precision", "fp32", "--max-age-ms", 1, "--smaller", "person-landscape", "--policy", "all")
    assert run(CAMERA, *words, "--max-frames", 20, "--stats", stats, "--record", tape) == 0
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert first.endswith("from now on person-landscape 144x256, every frame")
    assert second.startswith("warning: ") and "1 ms cannot be held: the model alone takes" in second
    assert "model person (256x256" in out and "model person-landscape (144x256" in out and "; cannot be held: " in out
    figures = json.loads(stats.read_text())
    assert figures["budget"]["held"] is False and figures["skipped"] == 0
    assert [row["model"] for row in figures["budget"]["levels"]] == ["person", "person-landscape"]

    used = [json.loads(line).get("model", 0) for line in (tape / LINES).read_text().splitlines() if "taken" in line]
    assert set(used) == {0, 1}
    assert main(["run", f"replay:{tape}"]) == 0
    assert f"replay: {len(used)} of {len(used)} recorded masks, all identical" in capsys.readouterr().out
    assert main(["run", f"replay:{tape}", "--max-age-ms", "50"]) == 2
    assert "a replay takes no --max-age-ms: 50" in capsys.readouterr().err


def test_a_smaller_model_that_has_changed_is_refused(
    tmp_path: Path, tiny_model: Path, make_tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    own, tape = make_tiny_model(tmp_path / "own.onnx", height=16, width=16), tmp_path / "tape"
    words = ("--model", tiny_model, "--smaller", own, "--max-age-ms", 5000, "--max-frames", 3)
    assert run(CAMERA, *words, "--record", tape) == 0
    assert main(["run", f"replay:{tape}"]) == 0
    make_tiny_model(own, height=16, width=16, name="other")
    assert main(["run", f"replay:{tape}"]) == 4
    assert f"has changed since the recording: {own}" in capsys.readouterr().err


def test_a_camera_of_a_file_has_a_budget_of_its_own(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras, stats = tmp_path / "cameras.yaml", tmp_path / "stats.json"
    cameras.write_text(f"cameras:\n- source: {CAMERA}\n  max_age_ms: 5000\n- source: synthetic:64x48\n")
    assert run(cameras, "--model", tiny_model, "--max-frames", 8, "--stats", stats) == 0
    first, second = json.loads(stats.read_text())["streams"]
    assert first["budget"]["max_age_ms"] == 5000 and "budget" not in second
    assert capsys.readouterr().out.count("budget 5000 ms") == 1
    cameras.write_text(f"cameras:\n- source: {CAMERA}\n  max_age_ms: 0\n")
    assert run(cameras, "--model", tiny_model) == 2
    assert "line 3: max_age_ms: the budget for the age of results is below 1 ms: 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((CAMERA, "--max-age-ms", "soon"), 2, "bad budget for the age of results: soon. Give a number of at least 1"),
        ((CAMERA, "--max-age-ms", 0), 2, "bad budget for the age of results: 0"),
        (("synthetic:64x48", "--max-age-ms", 50), 2, "no age to hold: synthetic:64x48. Leave the budget out"),
        ((CAMERA, "--smaller", "person"), 2, "--smaller is for a budget: person. Give --max-age-ms, too"),
        ((CAMERA, "--max-age-ms", 50, "--smaller", "persn"), 2, "unknown model: persn. Did you mean 'person'?"),
        ((CAMERA, "--max-age-ms", 50, "--smaller", "no.onnx"), 3, "does not exist: no.onnx"),
    ],
)
def test_wrong_usage_is_one_line(
    words: tuple[object, ...], code: int, told: str, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--model", tiny_model, "--max-frames", 3) == code
    err = capfd.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and told in err
