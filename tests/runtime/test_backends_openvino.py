"""What OpenVINO needs before it reads a file with functions, and what is kept of that for the next start."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from decoder_model import write_decoder_model

pytest.importorskip("openvino")

from edgeseg.errors import BackendError
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.backends.openvino_backend import inline

IMAGE = {"image": np.random.default_rng(0).integers(0, 256, (1, 24, 40, 3), np.uint8)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    return write_decoder_model(tmp_path / "decoder.onnx")


def probability(model: Path) -> np.ndarray:
    with load_backend(model, "openvino") as backend:
        return backend.infer(IMAGE)["probability"].copy()


def test_inlined_once_and_then_without_onnx(decoder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probability(decoder)
    kept = list((cache / "inlined").iterdir())
    assert [path.suffix for path in kept] == [".onnx"]
    assert list((cache / "openvino").glob("*.blob"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    np.testing.assert_array_equal(probability(decoder), first)


def test_without_onnx_the_extra_is_named(decoder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"edgeseg\[openvino\]"):
        load_backend(decoder, "openvino")


def test_a_file_without_functions_needs_no_onnx(tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    load_backend(tiny_model, "openvino").close()
    assert not (cache / "inlined").exists()


def test_another_model_of_the_same_name_is_another_entry(tmp_path: Path, cache: Path) -> None:
    one = probability(write_decoder_model(tmp_path / "decoder.onnx", seed=1))
    other = probability(write_decoder_model(tmp_path / "decoder.onnx", seed=2))
    assert len(list((cache / "inlined").iterdir())) == 2
    assert np.abs(one.astype(int) - other).max() > 20


@pytest.mark.parametrize("damage", [b"", b"not a model", None], ids=["empty", "text", "cut"])
def test_damaged_cache_files_are_made_again(decoder: Path, cache: Path, damage: bytes | None) -> None:
    first = probability(decoder)
    kept = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert len(kept) == 2
    for path, content in kept.items():
        path.chmod(0o600)
        path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    np.testing.assert_array_equal(probability(decoder), first)
    inlined = next(path for path in kept if path.suffix == ".onnx")
    assert inlined.read_bytes() == kept[inlined]


def test_no_place_for_the_cache(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "file" / "cache"))
    assert probability(decoder).shape == (1, 24, 40)
    told = capfd.readouterr().err
    assert told.startswith("warning: ") and told.count("\n") == 1


def test_inline_leaves_no_function(decoder: Path, tmp_path: Path) -> None:
    import onnx

    assert read_model_file(decoder).has_functions
    inlined = onnx.ModelProto.FromString(inline(decoder.read_bytes()))
    onnx.checker.check_model(inlined)
    assert not inlined.functions
    assert {node.domain for node in inlined.graph.node} == {""}
