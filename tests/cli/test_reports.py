"""doctor, models and bench: what they print and what their JSON holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgeseg.cli import doctor
from edgeseg.cli.main import main
from edgeseg.cli.models import describe_model
from edgeseg.runtime.backends import installed, known, usable


def test_doctor_reports_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["packages"]["numpy"]["version"]
    assert found["backends"]["onnxruntime"] == "ready"
    assert found["backends"].keys() == known().keys()
    for name, state in found["backends"].items():
        told = (
            "ready" if name in usable() else "there is no GPU" if name in installed() else "not installed: pip install"
        )
        assert told in state
    assert found["problems"] == []
    assert found["machine"]["cores"] >= 1
    assert "onnxruntime: ready" in err  # the text for people gave way to the JSON


def test_doctor_names_what_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.so").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    assert any("libgl1" in problem for problem in doctor.problems())


def test_models_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json", "-"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert {"person", "person-landscape"} <= set(models)
    for model in models.values():
        assert {"fp32", "int8"} <= set(model["files"])
        assert model["card"], f"{model['name']} has no card"
        sizes = {precision: entry["bytes"] for precision, entry in model["files"].items()}
        if model["name"].startswith("person"):
            assert sum(sizes.values()) < 4e6
        assert sizes["fp32"] < 24e6 and sizes["int8"] < 8e6


def test_a_model_is_told_with_the_plain_values_of_its_card() -> None:
    model = {
        "name": "toy",
        "files": {"fp32": {"path": "toy.onnx", "bytes": 2_100_000}},
        "card": {
            "name": "toy",
            "terms": "research",
            "classes": ["sky", "road"],
            "origin": {"fp32": {"recipe": {"steps": 5}}},
            "figures": {"iou": 0.96123, "worst": ["a"], "recall": {"sky": 0.5, "road": 0.25}},
        },
    }
    assert describe_model(model).splitlines() == [
        "toy: fp32 2.10 MB",
        "  terms: research",
        "  figures.iou: 0.9612",
    ]


def test_bench_measures_and_holds_the_limits(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "bench.json"
    words = ["bench", "--model", str(tiny_model), "--backend", "onnxruntime", "--source", "synthetic:64x48"]
    words += ["--samples", "12", "--warmup", "2", "--seconds", "0.2", "--json", str(target)]
    assert main([*words, "--require", "throughput_fps>=1"]) == 0
    text = capsys.readouterr().out
    assert "onnxruntime" in text
    assert json.loads(target.read_text())["machine"]["cores"] >= 1
    assert main([*words, "--require", "engine_p50_ms<=0.000001"]) == 5
    assert "engine_p50_ms" in capsys.readouterr().err
    assert main([*words, "--require", "speed>=1"]) == 2
