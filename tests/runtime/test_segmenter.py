"""The segmenter: pictures of all kinds in, results out; names and files of models; closing; real ONNX Runtime."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import ToyBackend, person_manifest

import edgeseg
from edgeseg.errors import BackendError, InputError, ModelError, UsageError
from edgeseg.runtime import backends, zoo
from edgeseg.runtime.backends import choice
from edgeseg.runtime.backends.base import Backend
from edgeseg.runtime.segmenter import Segmenter, open_segmenter
from edgeseg.runtime.zoo import find_model, list_models
from edgeseg.types import Frame


def half_bright(height: int = 60, width: int = 80) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, width // 2 :] = 255
    return frame


def test_a_result_has_the_frames_size_and_spans() -> None:
    frame = half_bright()
    result = Segmenter(ToyBackend())(frame)
    assert result.label_map.shape == result.probability.shape == (60, 80)
    assert not result.label_map[:, :38].any() and result.label_map[:, 42:].all()
    assert result.frame.image is frame
    assert result.classes[1].name == "person"
    assert set(result.timings_ms) == {"preprocess", "inference", "postprocess"}
    assert all(value > 0 for value in result.timings_ms.values())
    assert result.overlay().shape == frame.shape


def test_a_frame_keeps_its_origin() -> None:
    frame = Frame(half_bright(), 17, 12345, 0.5, "clip.mp4")
    result = Segmenter(ToyBackend())(frame)
    assert (result.frame, result.frame_number, result.captured_ns) == (frame, 17, 12345)


def test_the_same_picture_in_other_layouts_gives_the_same_result() -> None:
    segmenter = Segmenter(ToyBackend())
    frame = half_bright()
    wanted = segmenter(frame).label_map
    gray = frame[..., 0]
    for other in (gray, np.dstack([frame, gray]), np.asfortranarray(frame), frame.repeat(2, 1)[:, ::2]):
        result = segmenter(other)
        assert np.array_equal(result.label_map, wanted)
        assert result.frame.image.shape == frame.shape
    with pytest.raises(InputError, match=r"shape \[60, 80, 3\], dtype float64"):
        segmenter(frame / 255)


def test_the_threshold_moves_the_border() -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)[None, :, None].repeat(8, 0).repeat(3, 2)
    shares = [Segmenter(ToyBackend(), threshold)(ramp).label_map.mean() for threshold in (0.1, 0.5, 0.9)]
    assert shares == pytest.approx([0.9, 0.5, 0.1], abs=0.03)


def test_results_survive_the_next_call() -> None:
    segmenter = Segmenter(ToyBackend())
    first = segmenter(np.full((32, 32, 3), 255, np.uint8))
    segmenter(np.zeros((32, 32, 3), np.uint8))
    assert first.label_map.all() and first.probability.all()


def test_threads_may_share_a_segmenter() -> None:
    segmenter = Segmenter(ToyBackend())
    wrong: list[int] = []

    def work(value: int) -> None:
        frame = np.full((40, 40, 3), value, np.uint8)
        wrong.extend(value for _ in range(100) if not (segmenter(frame).probability == value).all())

    threads = [threading.Thread(target=work, args=(value,)) for value in (0, 60, 120, 180, 240)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_warms_up_once_and_closes_once() -> None:
    backend = ToyBackend()
    with Segmenter(backend) as segmenter:
        segmenter.warm_up()
        segmenter.warm_up()
        assert backend.calls == 0
    segmenter.close()
    assert backend.closed == 1
    with pytest.raises(ModelError, match="closed"):
        segmenter(half_bright())


def test_a_backend_without_the_output_is_a_model_error() -> None:
    backend = ToyBackend()
    backend.infer = lambda inputs: {"label_map": np.zeros((1, 32, 32), np.uint8)}
    with pytest.raises(ModelError, match="probability"):
        Segmenter(backend)(half_bright())


@pytest.fixture
def toy_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_tiny_model) -> Path:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    for name in ("person", "person-landscape", "unfinished"):
        (tmp_path / name).mkdir()
    make_tiny_model(tmp_path / "person" / "model.onnx", name="person")
    make_tiny_model(tmp_path / "person" / "model.int8.onnx", name="person", precision="int8")
    make_tiny_model(tmp_path / "person-landscape" / "model.onnx", name="person-landscape")
    (tmp_path / "person" / "card.json").write_text(json.dumps({"terms": "non-commercial"}))
    return tmp_path


def test_the_zoo_is_listed(toy_zoo: Path) -> None:
    models = list_models()
    assert [model["name"] for model in models] == ["person", "person-landscape"]
    assert list(models[0]["files"]) == ["fp32", "int8"]
    assert models[0]["files"]["fp32"]["bytes"] == (toy_zoo / "person" / "model.onnx").stat().st_size
    assert (models[0]["card"], models[1]["card"]) == ({"terms": "non-commercial"}, {})
    json.dumps(models)


def test_models_are_found_by_name_and_path(toy_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model("person").files == {p: toy_zoo / "person" / f for p, f in zoo.FILES.items()}
    path = toy_zoo / "person" / "model.onnx"
    assert find_model(path).files == find_model(str(path)).files == {"file": path}
    monkeypatch.chdir(toy_zoo / "person")
    assert find_model("model.onnx").files == {"file": Path("model.onnx")}


@pytest.mark.parametrize("word", ["missing.onnx", "engines/road.engine", "./person", Path("road")])
def test_a_missing_file_is_an_input_error(toy_zoo: Path, word: str | Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_model(word)


def test_a_folder_is_no_model(toy_zoo: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        find_model(toy_zoo / "person")


def test_an_unknown_name_names_the_known(toy_zoo: Path) -> None:
    with pytest.raises(UsageError, match="unknown model: persn. Did you mean 'person'") as caught:
        find_model("persn")
    assert "person-landscape" in str(caught.value)


def test_a_broken_card_is_an_input_error(toy_zoo: Path) -> None:
    (toy_zoo / "person" / "card.json").write_text("{")
    with pytest.raises(InputError, match=r"card\.json"):
        list_models()


def test_a_real_model_through_onnx_runtime(tiny_model: Path) -> None:
    pytest.importorskip("onnxruntime")
    frame = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8), (0, 0), 12)
    frame = cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX)
    with edgeseg.load(tiny_model, backend="onnxruntime") as segmenter:
        result = segmenter(frame)
    assert segmenter.backend.name == "onnxruntime"
    expected = Segmenter(ToyBackend(person_manifest()))(frame)
    assert np.abs(result.probability.astype(int) - expected.probability).max() <= 1
    assert np.mean(result.label_map == expected.label_map) > 0.99


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_read_only_picture_of_the_models_size(tiny_model: Path, backend: str) -> None:
    pytest.importorskip(backend)
    frame = half_bright(32, 32)
    frame.flags.writeable = False
    with edgeseg.load(tiny_model, backend=backend) as segmenter:
        result = segmenter(frame)
    assert np.array_equal(result.label_map, frame[..., 0] > 0)


@pytest.mark.parametrize("precision", ["fp32", "int8", "auto"])
def test_precision_picks_the_shipped_file(toy_zoo: Path, precision: str) -> None:
    with open_segmenter("person", "onnxruntime", precision) as segmenter:
        assert segmenter.manifest.precision == segmenter.choice.precision
        if precision != "auto":
            assert segmenter.manifest.precision == precision
            assert not segmenter.choice.measured_ms


def test_wrong_precisions(toy_zoo: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="not there in int8: person-landscape"):
        open_segmenter("person-landscape", "onnxruntime", "int8")
    with pytest.raises(UsageError, match="unknown precision: fp23"):
        open_segmenter("person", "onnxruntime", "fp23")
    with pytest.raises(UsageError, match="not there in int8"):
        open_segmenter(tiny_model, "onnxruntime", "int8")
    with open_segmenter(tiny_model, "onnxruntime", "fp32") as segmenter:
        assert (segmenter.choice.backend, segmenter.choice.precision) == ("onnxruntime", "fp32")


@pytest.mark.parametrize(
    "precision, device, here, told",
    [
        ("fp32", None, "onnxruntime", "--backend auto takes onnxruntime fp32 on this machine."),
        ("fp32", "0", "onnxruntime", "--backend auto without --device takes onnxruntime fp32 on this machine."),
        # What `auto` could not run, or would fail at in the same way.
        ("fp16", None, "onnxruntime", "Close what else uses it."),
        ("fp32", None, "tensorrt", "Close what else uses it."),
    ],
)
def test_where_an_engine_cannot_run_only_what_is_true_of_auto_is_said(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, precision: str, device: str | None, here: str, told: str
) -> None:
    def full(*_: object, **__: object) -> Backend:
        raise BackendError("the GPU has too little free memory", "1 MiB wanted", "Close what else uses it")

    monkeypatch.setattr(backends, "load_backend", full)
    monkeypatch.setattr(choice, "check_backend", lambda name: None)
    monkeypatch.setattr(choice, "usable", lambda: (here,))
    with pytest.raises(BackendError, match="too little free memory") as caught:
        open_segmenter(tiny_model, "tensorrt", precision, device)
    assert str(caught.value).endswith(told)
