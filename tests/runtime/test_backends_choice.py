"""`auto` on real models: the faster one wins, the answer is kept, and a damaged or missing cache costs time only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.errors import BackendError, ModelError, UsageError
from edgeseg.runtime.backends import choice as choice_module
from edgeseg.runtime.backends import usable
from edgeseg.runtime.backends.choice import CACHE_FILE, Choice, choose

MakeModel = Callable[..., Path]
ORT = ("onnxruntime",)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice_module, "_BUDGET_S", 0.1)
    return tmp_path / "cache" / CACHE_FILE


@pytest.fixture
def files(make_tiny_model: MakeModel, tmp_path: Path) -> dict[str, Path]:
    """Two "precisions", one of which has 400 times as many pixels to look at."""
    return {
        "fp32": make_tiny_model(tmp_path / "large.onnx", height=640, width=640),
        "int8": make_tiny_model(tmp_path / "small.onnx", height=32, width=32, precision="int8"),
    }


def unusable(path: Path, model: Path) -> Path:
    """A file with a manifest, and an operator that no runtime knows."""
    import onnx

    loaded = onnx.load(model)
    loaded.graph.node[2].op_type = "Rund"
    onnx.save(loaded, path)
    return path


def test_the_faster_pair_wins_and_is_kept(
    files: dict[str, Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = choose(files)
    told = capfd.readouterr().err
    assert first.precision == "int8" and first.backend in usable() and not first.cached
    assert set(first.measured_ms) == {f"{backend} {precision}" for backend in usable() for precision in files}
    assert first.measured_ms[f"{first.backend} int8"] < first.measured_ms[f"{first.backend} fp32"]
    assert "measuring once" in told and "onnxruntime fp32" in told and f"fastest: {first}" in told

    second = choose(files)
    assert second == Choice(first.backend, "int8", first.measured_ms, cached=True)
    assert capfd.readouterr().err == ""
    entry = next(iter(json.loads(cache.read_text()).values()))
    assert entry["measured_for"]["cores"] >= 1 and entry["measured_for"]["backends"]["onnxruntime"]


def test_nothing_to_choose_is_not_measured(
    files: dict[str, Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert choose({"fp32": files["fp32"]}, ORT) == Choice("onnxruntime", "fp32")
    assert not cache.exists() and capfd.readouterr().err == ""


def test_another_file_is_measured_again(files: dict[str, Path], cache: Path, make_tiny_model: MakeModel) -> None:
    choose(files, ORT)
    make_tiny_model(files["int8"], height=40, width=32, precision="int8")
    assert not choose(files, ORT).cached
    assert len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"KEY": 7}', '{"KEY": {"backend": "openvino"}}'])
def test_a_damaged_cache_is_measured_again(files: dict[str, Path], cache: Path, content: str) -> None:
    choose(files, ORT)
    key = next(iter(json.loads(cache.read_text())))
    cache.write_text(content.replace("KEY", key))
    assert not choose(files, ORT).cached
    assert choose(files, ORT).cached


def test_no_place_for_the_cache(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "file" / "cache"))
    assert choose(files, ORT).precision == "int8"
    assert "warning: cannot keep the measurement" in capfd.readouterr().err


def test_a_pair_that_does_not_load_is_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    broken = unusable(tmp_path / "broken.onnx", files["int8"])
    found = choose({"fp32": files["fp32"], "int8": broken}, ORT)
    assert found.precision == "fp32"
    assert "cannot load" in found.left_out["onnxruntime int8"]
    with pytest.raises(ModelError, match="cannot load"):
        choose({"fp32": broken, "int8": unusable(tmp_path / "other.onnx", files["fp32"])}, ORT)


def test_names_and_devices(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean 'openvino'"):
        choose(files, ("openvin",))
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # absent, to the import system
    with pytest.raises(BackendError, match=r"pip install 'edgeseg\[tensorrt\]'"):
        choose(files, ("tensorrt",))
    with pytest.raises(BackendError, match="ABACUS"):
        choose(files, ORT, device="ABACUS")
    with pytest.raises(BackendError, match="no backend"):
        choose(files, ())


def test_a_choice_says_what_it_is() -> None:
    measured = {"openvino int8": 2.31, "onnxruntime fp32": 3.6, "openvino fp32": 3.1}
    assert (
        str(Choice("openvino", "int8", measured))
        == "openvino int8 (2.31 ms; openvino fp32 3.10; onnxruntime fp32 3.60)"
    )
    assert str(Choice("openvino", "int8")) == "openvino int8"
