"""The backends on real files: known answers, agreement with each other, and every error with its exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from decoder_model import write_decoder_model

from edgeseg.errors import BackendError, EdgeSegError, InputError, ModelError, UsageError
from edgeseg.runtime.backends import installed, load_backend, usable

MakeModel = Callable[..., Path]
Bytes = npt.NDArray[np.uint8]

needs_openvino = pytest.mark.skipif("openvino" not in installed(), reason="openvino is not installed")
EVERY = [pytest.param("onnxruntime"), pytest.param("openvino", marks=needs_openvino)]


def picture(height: int, width: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder_model(tmp_path_factory.mktemp("decoder") / "decoder.onnx")


@pytest.mark.parametrize("name", EVERY)
def test_known_answer(name: str, make_tiny_model: MakeModel, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "wide.onnx", height=6, width=10)
    with load_backend(model, name) as backend:
        assert (backend.name, backend.device, backend.manifest.width) == (name, "CPU", 10)
        assert backend.details["threads"] >= 1 and backend.details["version"]
        for seed in range(3):
            image = picture(6, 10, seed)
            outputs = backend.infer({"image": image})
            expected = image.astype(np.float32).mean(axis=3).round()
            assert outputs["probability"].dtype == outputs["label_map"].dtype == np.uint8
            np.testing.assert_array_equal(outputs["probability"], expected)
            np.testing.assert_array_equal(outputs["label_map"], expected >= 128)


@needs_openvino
def test_a_function_inside_the_file_gives_the_same_on_both(decoder: Path) -> None:
    with load_backend(decoder, "onnxruntime") as reference, load_backend(decoder, "openvino") as candidate:
        # bfloat16, where OpenVINO chooses it, keeps 8 bits: 4 of 255 in a sigmoid.
        allowed = 1 if candidate.details["inference_precision"] == "f32" else 4
        spread = set()
        for seed in range(4):
            image = {"image": picture(24, 40, seed)}
            one, other = reference.infer(image)["probability"], candidate.infer(image)["probability"]
            assert np.abs(one.astype(int) - other).max() <= allowed
            spread |= set(np.unique(one).tolist())
        assert len(spread) > 100


@pytest.mark.parametrize("name", EVERY)
def test_input_that_is_not_contiguous(name: str, decoder: Path) -> None:
    image = picture(24, 40)
    with load_backend(decoder, name) as backend:
        straight = backend.infer({"image": image})["probability"].copy()
        strided = np.repeat(image, 2, axis=2)[:, :, ::2]
        assert not strided.flags.c_contiguous
        np.testing.assert_array_equal(backend.infer({"image": strided})["probability"], straight)


@pytest.mark.parametrize("name", EVERY)
def test_one_thread(name: str, tiny_model: Path) -> None:
    with load_backend(tiny_model, name, threads=1) as backend:
        assert backend.details["threads"] == 1
        assert backend.infer({"image": picture(32, 32)})["label_map"].shape == (1, 32, 32)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"image": np.zeros((1, 32, 31, 3), np.uint8)}, r"\[1, 32, 31, 3\]"),
        ({"image": np.zeros((2, 32, 32, 3), np.uint8)}, r"\[2, 32, 32, 3\]"),
        ({"image": np.zeros((32, 32, 3), np.uint8)}, r"\[32, 32, 3\]"),
        ({"image": np.zeros((1, 32, 32, 3), np.float32)}, "float32"),
        ({}, "image"),
        ({"imge": np.zeros((1, 32, 32, 3), np.uint8)}, "Did you mean 'image'"),
    ],
)
def test_wrong_inputs(name: str, inputs: dict[str, Bytes], told: str, tiny_model: Path) -> None:
    with load_backend(tiny_model, name) as backend, pytest.raises(InputError, match=told):
        backend.infer(inputs)


@pytest.mark.parametrize("name", EVERY)
def test_closed(name: str, tiny_model: Path) -> None:
    backend = load_backend(tiny_model, name)
    backend.close()
    backend.close()
    with pytest.raises(ModelError, match="closed"):
        backend.infer({"image": picture(32, 32)})


@pytest.mark.parametrize("name", EVERY)
def test_no_such_device(name: str, tiny_model: Path) -> None:
    with pytest.raises(BackendError, match="ABACUS"):
        load_backend(tiny_model, name, device="ABACUS")


def test_names(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean 'onnxruntime'"):
        load_backend(tiny_model, "onnxruntme")
    for name in {"tensorrt", "tensorrt-rtx"} - set(usable()):
        why = "finds no GPU" if name in installed() else rf"pip install 'edgeseg\[{name}\]'"
        with pytest.raises(BackendError, match=why):
            load_backend(tiny_model, name)
    # What the import system says of a package that is absent.
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "openvino" not in installed()
    with pytest.raises(BackendError, match=r"pip install 'edgeseg\[openvino\]'") as caught:
        load_backend(tiny_model, "openvino")
    assert caught.value.exit_code == 4
    with pytest.raises(UsageError, match="threads"):
        load_backend(tiny_model, "onnxruntime", threads=0)


def damaged_files(folder: Path, tiny: Path, make: MakeModel) -> dict[str, tuple[Path, type[EdgeSegError]]]:
    """Files that cannot be used, and the error each must give."""
    import onnx

    content = tiny.read_bytes()
    plain = onnx.load(tiny)
    del plain.metadata_props[:]
    other_op = onnx.load(tiny)
    other_op.graph.node[2].op_type = "Rund"
    fewer = onnx.load(tiny)
    del fewer.graph.output[1]
    taller = onnx.load(make(folder / "taller.onnx", height=64))
    taller.graph.CopyFrom(plain.graph)
    scrambled = bytearray(content)
    place = content.find(b"ReduceMean") - 8
    scrambled[place : place + 6] = b"\xff" * 6
    bad = {
        "cut": content[: len(content) // 2],
        "text": b"this is a letter, not a model\n" * 9,
        "empty": b"",
        "scrambled": bytes(scrambled),
        "no_manifest": plain.SerializeToString(),
        "unknown_operator": other_op.SerializeToString(),
        "output_missing": fewer.SerializeToString(),
        "another_height": taller.SerializeToString(),
    }
    found: dict[str, tuple[Path, type[EdgeSegError]]] = {
        "missing": (folder / "missing.onnx", InputError),
        "a_folder": (folder, InputError),
    }
    for name, data in bad.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(data)
        found[name] = (path, ModelError)
    return found


SCRIPT = """
import sys
from pathlib import Path
from edgeseg.errors import EdgeSegError
from edgeseg.runtime.backends import load_backend
for path in sys.argv[2:]:
    try:
        load_backend(Path(path), sys.argv[1])
        print("no error")
    except EdgeSegError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", EVERY)
def test_bad_files_are_one_line_and_nothing_else_is_said(
    name: str, tmp_path: Path, tiny_model: Path, make_tiny_model: MakeModel
) -> None:
    files = damaged_files(tmp_path, tiny_model, make_tiny_model)
    paths = [str(path) for path, _ in files.values()]
    done = subprocess.run([sys.executable, "-c", SCRIPT, name, *paths], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(files), done.stdout
    for (path, kind), line in zip(files.values(), lines, strict=True):
        assert line.startswith(f"{kind.__name__} ") and str(path) in line, line
        assert len(line) < 600
    told = dict(zip(files, lines, strict=True))
    assert "corrupt" in told["cut"] and "corrupt" in told["text"] and "corrupt" in told["empty"]
    assert "no manifest" in told["no_manifest"] and "edgeseg export" in told["no_manifest"]
    assert "probability is missing" in told["output_missing"]
    # Native code complains to file descriptor 2, past Python: only a process of its own shows that.
    assert done.stderr == ""
