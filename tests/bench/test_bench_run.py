"""The benchmark on a real model with real backends, its report, and limits with their exit codes."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.bench import BenchReport, Plan, check_requirements, parse_requirements, run_bench
from edgeseg.bench.limits import KEYS
from edgeseg.errors import BackendError, InputError, LimitError, UsageError
from edgeseg.runtime.backends import installed, known, usable

SHORT = Plan(samples=24, seconds=0, warmup=3)


@pytest.fixture(scope="module")
def report(tiny_model: Path) -> BenchReport:
    return run_bench(tiny_model, backends="all", source="synthetic:96x64", plan=SHORT)


def test_every_installed_backend_with_all_figures(report: BenchReport, tiny_model: Path) -> None:
    assert [pair.backend for pair in report.pairs] == list(usable())
    body = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert body["frame_size"] == "96x64" and body["warm_up"] == 3 and body["model"] == str(tiny_model)
    assert body["left_out"] == {
        name: "no GPU" if name in installed() else "not installed" for name in known() if name not in usable()
    }
    assert body["machine"]["versions"]["onnxruntime"] and "clock_mhz_end" in body["machine"]
    assert set(body["load"]) == {"others_cpu_share", "stolen_cpu_share"}
    for pair in body["pairs"]:
        assert (pair["precision"], pair["device"]) == ("fp32", "CPU")
        for span in (pair["engine"], pair["end_to_end"], *pair["stages"].values()):
            assert 0 < span["p50_ms"] <= span["p95_ms"] <= span["p99_ms"]
            assert span["samples"] == 8 and span["everything"]["samples"] == 24
        assert set(pair["stages"]) == {"preprocess", "inference", "postprocess"}
        assert pair["throughput_fps"] == pytest.approx(1e3 / pair["end_to_end"]["mean_ms"])


def test_the_table_names_what_was_measured_and_how(report: BenchReport) -> None:
    lines = report.table().splitlines()
    for pair, line in zip(report.pairs, lines[1:], strict=False):
        assert line.startswith(pair.backend) and f"{pair.end_to_end.p95_ms:.2f}" in line
    text = "\n".join(lines)
    for word in ("warm-up 3", "8 samples", "96x64", "power mode", "onnxruntime", *report.left_out):
        assert word in text, text


def test_auto_measures_one_pair(make_tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "int8.onnx", precision="int8")
    found = run_bench(model, source="synthetic:96x64", samples=8, warmup=1, plan=SHORT)
    assert [(pair.precision, pair.engine.everything["samples"]) for pair in found.pairs] == [("int8", 8)]
    assert found.warm_up == 1


def test_frames_of_a_folder_of_several_sizes(tiny_model: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for number, size in enumerate([(40, 60), (64, 32), (33, 31)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*size, 3), 90, np.uint8))
    found = run_bench(tiny_model, "onnxruntime", source=str(tmp_path), plan=SHORT)
    assert found.frame_size == "60x40" and found.pairs[0].end_to_end.p50_ms > 0


def test_what_cannot_be_measured(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown backend"):
        run_bench(tiny_model, "onnxruntim", source="synthetic:96x64", plan=SHORT)
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # absent, to the import system
    with pytest.raises(BackendError, match="not installed"):
        run_bench(tiny_model, "tensorrt", source="synthetic:96x64", plan=SHORT)
    with pytest.raises(UsageError, match="does not come in fp16: fp32"):
        run_bench(tiny_model, "onnxruntime", "fp16", source="synthetic:96x64", plan=SHORT)
    with pytest.raises(UsageError, match="does not come in int8: fp32"):
        run_bench(tiny_model, "onnxruntime", "int8", source="synthetic:96x64", plan=SHORT)
    with pytest.raises(UsageError, match="unknown precision"):
        run_bench(tiny_model, "onnxruntime", "int9", source="synthetic:96x64", plan=SHORT)
    with pytest.raises(InputError):
        run_bench(tmp_path / "missing.onnx", source="synthetic:96x64", plan=SHORT)
    with pytest.raises(InputError):
        run_bench(tiny_model, source=str(tmp_path / "missing.mp4"), plan=SHORT)
    with pytest.raises(BackendError, match="ABACUS"):
        run_bench(tiny_model, "all", source="synthetic:96x64", device="ABACUS", plan=SHORT)


def test_limits(report: BenchReport) -> None:
    check_requirements(report, ["end_to_end_p50_ms<=1e6", "throughput_fps>=0.001", " engine_p99_ms <= 1000000 "])
    with pytest.raises(LimitError, match=r"throughput_fps>=1e\+07 has .* with onnxruntime fp32") as caught:
        check_requirements(report, ["engine_p50_ms<=1e6", "throughput_fps>=1e7"])
    assert caught.value.exit_code == 5


def test_one_slow_pair_misses_a_limit(report: BenchReport) -> None:
    fast = report.pairs[0]
    slow_span = dataclasses.replace(fast.end_to_end, p50_ms=1e9)
    both = dataclasses.replace(report, pairs=(fast, dataclasses.replace(fast, backend="slug", end_to_end=slow_span)))
    with pytest.raises(LimitError) as caught:
        check_requirements(both, ["end_to_end_p50_ms<=1e8"])
    assert "slug" in str(caught.value) and "onnxruntime" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("throughput_fp>=3", "Did you mean 'throughput_fps'"),
        ("throughput_fps>3", "KEY>=VALUE"),
        ("throughput_fps", "KEY>=VALUE"),
        ("throughput_fps>=fast", "number"),
        ("throughput_fps>=nan", "number"),
    ],
)
def test_limits_that_cannot_be_read(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_requirements([text])


def test_every_key_is_a_figure(report: BenchReport) -> None:
    assert set(KEYS) == set(report.pairs[0].figures())
