"""What OpenVINO needs before it reads a file with functions, and what is kept of that for the next start."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from decoder_model import write_decoder_model
from stand_ins import Recorder

pytest.importorskip("openvino")

from edgeseg.errors import BackendError, InputError, ModelError
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.backends.openvino_backend import inline
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import open_segmenter
from edgeseg.runtime.sources import open_source
from edgeseg.types import Result

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


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 24, 40, 3), np.uint8)


def test_the_next_picture_waits_behind_the_one_that_runs(decoder: Path, cache: Path) -> None:
    with load_backend(decoder, "openvino") as backend:
        wanted = [backend.infer({"image": picture(seed)})["probability"].copy() for seed in range(9)]
        begun: deque[Any] = deque()
        for seed in range(8):
            begun.append((seed, backend.begin({"image": picture(seed)})))
            if len(begun) == 2:
                assert backend.begin({"image": picture(8)}) is None, "not further ahead"
                number, fetch = begun.popleft()
                np.testing.assert_array_equal(fetch()["probability"], wanted[number])
        # One that is not begun comes in between and mixes nothing up.
        np.testing.assert_array_equal(backend.infer({"image": picture(8)})["probability"], wanted[8])
        number, fetch = begun.popleft()
        np.testing.assert_array_equal(fetch()["probability"], wanted[number])


def test_what_was_begun_and_refused_or_never_fetched_leaves_nothing(decoder: Path, cache: Path) -> None:
    backend = load_backend(decoder, "openvino")
    for _ in range(5):
        with pytest.raises(InputError, match="image"):
            backend.begin({"image": picture(0)[0]})
    fetch = backend.begin({"image": picture(1)})
    assert fetch is not None and backend.begin({"image": picture(2)}) is not None, "refused ones took no place"
    backend.close()
    for call in (fetch, lambda: backend.begin({"image": picture(1)})):
        with pytest.raises(ModelError, match="closed"):
            call()


@pytest.mark.parametrize(("policy", "threads"), [("all", 1), ("newest", 2)])
def test_files_run_ahead_with_the_same_masks_and_opencv_on_one_thread(
    decoder: Path, cache: Path, policy: str, threads: int
) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    seen: list[int] = []

    class Sink(Recorder):
        def write(self, result: Result) -> None:
            seen.append(cv2.getNumThreads())
            super().write(result)

    try:
        with open_segmenter(decoder, "openvino") as segmenter, open_source("synthetic:64x48", 30) as source:
            sink = Sink()
            with Pipeline(source, segmenter, [sink], policy=policy) as pipeline:
                pipeline.start()
                pipeline.join()
            with open_source("synthetic:64x48", 30) as again:
                wanted = {frame.number: segmenter(frame).label_map for frame in again}
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
    counts = pipeline.stats.counts()
    assert sink.results and counts["frames_in"] == counts["frames_out"] + counts["dropped"] and not counts["failed"]
    assert seen[0] == threads  # later ones may come after the last inference
    assert policy == "newest" or sink.numbers == list(range(30))
    for result in sink.results:
        np.testing.assert_array_equal(result.label_map, wanted[result.frame_number])
