"""Engines: TensorRT-RTX builds every precision without a GPU, and what goes wrong is one error and no half file."""

from __future__ import annotations

import base64
import json
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from export_helpers import Exported

from edgeseg.cli.main import main
from edgeseg.errors import BackendError, InputError, ModelError, UsageError
from edgeseg.export import build_engine as under_test
from edgeseg.export.build_engine import Order, build_engine, run_worker
from edgeseg.manifest import Manifest
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.segmenter import manifest_of
from edgeseg.runtime.zoo import find_model, list_models

RTX = find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not RTX, reason="tensorrt-rtx is not installed")


def semantic_models() -> list[str]:
    """Names of the shipped models that give label maps."""
    return [item["name"] for item in list_models() if manifest_of(item["name"]).task == "semantic"]


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", semantic_models())
def test_each_shipped_model_in_each_precision(name: str, precision: str, tmp_path: Path) -> None:
    file = find_model(name).files["int8" if precision == "int8" else "fp32"]
    steps: list[tuple[str, int, int]] = []
    out = tmp_path / "model.engine"
    made = build_engine(file, out, "tensorrt-rtx", precision, progress=lambda *step: steps.append(step))
    engine = made.origin["engine"]
    assert made.precision == precision and engine["layers"] > 50
    assert out.stat().st_size == engine["bytes"] > 100_000
    assert steps and all(0 < done <= total for _, done, total in steps)
    beside = Manifest.from_json((tmp_path / "model.engine.json").read_text())
    assert beside == made and beside.name == name
    # The golden frame and what ONNX Runtime says of it.
    frame, labels = (
        cv2.imdecode(np.frombuffer(base64.b64decode(engine[key]), np.uint8), cv2.IMREAD_UNCHANGED)
        for key in ("golden_frame", "golden_labels")
    )
    with load_backend(file, "onnxruntime") as backend:
        assert np.array_equal(backend.infer({"image": frame[None]})["label_map"][0], labels)


@needs_rtx
def test_several_pictures_at_once_and_a_workspace(person: Exported, tmp_path: Path) -> None:
    out = tmp_path / "model.engine"
    made = build_engine(person.path, out, "tensorrt-rtx", workspace_mb=64, batch=(1, 2, 4))
    assert made.origin["engine"]["batch"] == [1, 2, 4]


@needs_rtx
def test_the_parser_s_complaint_is_told_and_nothing_is_written(person: Exported, tmp_path: Path) -> None:
    model = onnx.load(person.path)
    next(node for node in model.graph.node if node.op_type == "Clip").op_type = "NonMaxSuppression"
    onnx.save(model, tmp_path / "odd.onnx")
    order = Order("tensorrt-rtx", str(tmp_path / "odd.onnx"), str(tmp_path / "odd.engine"))
    with pytest.raises(ModelError, match="the parser does not take the model"):
        run_worker(order)
    assert not (tmp_path / "odd.engine").exists()


def test_a_worker_that_dies_is_an_error(person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text(
        "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"ended in the middle of the build: exit code -6; last words"):
        run_worker(Order("tensorrt-rtx", str(person.path), str(tmp_path / "x.engine")))


@pytest.mark.parametrize("says", ["raise TypeError('null')", "CUDA initialization failure with error: 35"])
def test_no_gpu_is_said(person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """As 10.15 and 11 (a null builder) and 10.6 (the process ends) do it."""
    body = "class ILogger: pass\nclass Builder:\n    def __init__(self, logger):\n        "
    body += (
        says
        if says.startswith("raise")
        else f"import os, sys; print({says!r}, file=sys.stderr, flush=True); os.abort()"
    )
    (tmp_path / "tensorrt.py").write_text(body + "\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BackendError, match="tensorrt finds no GPU"):
        run_worker(Order("tensorrt", str(person.path), str(tmp_path / "x.engine")))


def test_what_is_refused_before_a_library_starts(
    person: Exported, int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "find_spec", lambda name: object())
    out = tmp_path / "x.engine"
    with pytest.raises(UsageError, match="TensorRT-RTX takes no plugins"):
        build_engine(person.path, out, "tensorrt-rtx", plugin=tmp_path / "lib.so")
    with pytest.raises(InputError, match="no such plugin library"):
        build_engine(person.path, out, "tensorrt", plugin=tmp_path / "lib.so")
    with pytest.raises(UsageError, match="Did you mean 'tensorrt"):
        build_engine(person.path, out, "tensort")
    with pytest.raises(ModelError, match=r"int8 cannot be built from this file: .* is fp32"):
        build_engine(person.path, out, "tensorrt-rtx", "int8")
    with pytest.raises(ModelError, match=r"fp16 cannot be built from this file: .* is int8"):
        build_engine(int8, out, "tensorrt-rtx", "fp16")
    monkeypatch.setattr(under_test, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"tensorrt is not installed.*edgeseg\[tensorrt\]"):
        build_engine(person.path, out, "tensorrt")
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_the_command_line(person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", str(person.path), "-o", str(tmp_path / "m.engine"), "--backend", "tensorrt-rtx"]
    assert main([*words, "--precision", "fp16", "--json", str(tmp_path / "m.json")]) == 0
    body = json.loads((tmp_path / "m.json").read_text())
    assert body["precision"] == "fp16" and body["build_seconds"] >= 0 and "golden_frame" not in body
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'm.engine'}: tensorrt-rtx ")
    assert main([*words, "--precision", "int8"]) == 4
    assert main(["build", "none.onnx", "-o", str(tmp_path / "n.engine"), "--backend", "tensorrt-rtx"]) == 3
    (tmp_path / "cut.onnx").write_bytes(person.path.read_bytes()[:5000])
    assert (
        main(["build", str(tmp_path / "cut.onnx"), "-o", str(tmp_path / "n.engine"), "--backend", "tensorrt-rtx"]) == 4
    )
    assert not (tmp_path / "n.engine").exists()


FAKE = """
import os
os.write(1, b"native code prints here\\n")
class ILogger:
    pass
class Builder:
    def __init__(self, logger):
        raise TypeError
"""


def test_what_native_code_prints_is_no_answer(
    person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BackendError, match="tensorrt finds no GPU"):
        run_worker(Order("tensorrt", str(person.path), str(tmp_path / "x.engine")))


def test_a_library_that_does_not_load_is_said(
    person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"tensorrt does not load: libnvinfer\.so\.10"):
        run_worker(Order("tensorrt", str(person.path), str(tmp_path / "x.engine")))


@needs_rtx
def test_a_timing_cache_is_kept_or_its_place_is_an_error(person: Exported, tmp_path: Path) -> None:
    words = ["build", str(person.path), "-o", str(tmp_path / "m.engine"), "--backend", "tensorrt-rtx"]
    assert main([*words, "--timing-cache", str(tmp_path / "no" / "my.cache")]) == 3
    assert not (tmp_path / "m.engine").exists()
    assert main([*words, "--timing-cache", str(tmp_path / "my.cache")]) == 0
    assert main([*words, "--keep-float", "head"]) == 2
