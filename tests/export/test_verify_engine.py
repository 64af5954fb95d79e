"""Engines as stages of `verify`: compared through the backend for engines, and refused where they cannot run.

There is no GPU here: TensorRT and the device are the stand-ins of fake_gpu.py, whose engines run in ONNX Runtime.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest
from export_helpers import Exported
from fake_gpu import FakeTensorRt, HostGpu, write_engine

from edgeseg.cli.main import main
from edgeseg.errors import ModelError, UsageError
from edgeseg.export.build_engine import build_engine
from edgeseg.export.check import sample_pictures
from edgeseg.export.verify import read_frames, verify
from edgeseg.manifest import beside
from edgeseg.runtime.backends import tensorrt_backend
from edgeseg.runtime.backends.gpu import gpu_count


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn scenes."""
    folder = tmp_path_factory.mktemp("frames")
    for number, picture in enumerate(sample_pictures(90, 120)[:3]):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRt:
    """TensorRT and a GPU, as the command line finds them."""
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    library = FakeTensorRt()
    library.__spec__ = ModuleSpec("tensorrt", None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    monkeypatch.setattr(tensorrt_backend, "open_gpu", lambda device, name: HostGpu())
    return library


def test_engines_are_stages_like_any_other(
    person: Exported, int8: Path, frames: Path, tmp_path: Path, fake: FakeTensorRt, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, rounded = (write_engine(tmp_path / f"{p.stem}.engine", p) for p in (person.path, int8))
    out = tmp_path / "verify.json"
    words = ["verify", str(person.path), str(int8), "--frames", str(frames), "--min-agreement", "0.8"]
    assert main([*words, "--engine", str(plain), "--engine", str(rounded), "--json", str(out)]) == 0
    body = json.loads(out.read_text())
    stages = {stage["file"]: stage for stage in body["stages"] if stage["runtime"] == "tensorrt"}
    assert set(stages) == {"model.engine", "model.int8.engine"} and fake.runs == 2 * (1 + 3)
    assert stages["model.engine"]["agreement"] == 1.0
    onnxruntime = next(s for s in body["stages"] if (s["file"], s["runtime"]) == ("model.int8.onnx", "onnxruntime"))
    assert stages["model.int8.engine"]["agreement"] == onnxruntime["agreement"] < 1.0
    # They give labels alone.
    assert all(stage["max_error"] is None for stage in stages.values()) and body["notes"] == []
    assert "model.int8.engine  tensorrt" in capsys.readouterr().out


def test_an_engine_that_answers_wrong_is_found(
    person: Exported, frames: Path, tmp_path: Path, fake: FakeTensorRt, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_engine(tmp_path / "m.engine", person.path)
    words = ["verify", str(person.path), str(path), "--frames", str(frames)]
    assert main(words) == 0
    fake.wrong = True  # the golden frame was right, and is asked once a device
    assert main(words) == 5
    told = capsys.readouterr().err
    assert re.search(r"labels agree: \d\.\d\d% in m\.engine by tensorrt\. Compare the ONNX file", told), told


def test_an_engine_of_another_file_is_reported(
    person: Exported, int8: Path, frames: Path, tmp_path: Path, fake: FakeTensorRt
) -> None:
    path = write_engine(tmp_path / "m.engine", person.path, onnx_sha256="0" * 64)
    report = verify(person.path, int8, read_frames(frames, None, 1, []), engines=[path])
    assert len(report.notes) == 1 and report.notes[0].startswith("m.engine was made from another file (sha256 0000")


def test_what_cannot_be_compared(
    person: Exported, int8: Path, frames: Path, tmp_path: Path, fake: FakeTensorRt, tiny_model: Path
) -> None:
    pictures = read_frames(frames, None, 1, [])
    other = write_engine(tmp_path / "tiny.engine", tiny_model)
    with pytest.raises(ModelError, match="other inputs"):
        verify(person.path, int8, pictures, engines=[other])
    with pytest.raises(UsageError, match="not the reference"):
        verify(other, person.path, pictures)
    old = write_engine(tmp_path / "old.engine", person.path, version="10.3.0")
    with pytest.raises(ModelError, match=r"found 10\.3\.0, needed 10\.15\.1\)\. Run edgeseg build [^,]*$"):
        verify(person.path, old, pictures)
    words = ["verify", str(person.path), str(other), "--frames", str(frames)]
    assert main([*words, "--bisect"]) == 2
    assert main([*words, "--engine", str(int8)]) == 2
    fake.full_at = "engine"
    assert main(["verify", str(person.path), str(write_engine(tmp_path / "m.engine", person.path)), *words[3:]]) == 4


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
def test_without_a_gpu_it_is_one_line_and_exit_code_4(
    person: Exported, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real library, and an engine that it built."""
    path = tmp_path / "m.engine"
    build_engine(person.path, path, "tensorrt-rtx")
    words = ["verify", str(person.path), str(path), "--frames", str(frames)]
    assert main(words) == 4
    told = capsys.readouterr().err
    assert told.startswith(f"error: tensorrt-rtx finds no GPU: {path} (") and told.count("\n") == 1, told
    path.write_bytes(path.read_bytes()[:1000])
    assert main(words) == 4
    assert "the engine is cut off" in capsys.readouterr().err
    beside(path).unlink()
    assert main(words) == 4
    assert "no manifest beside it" in capsys.readouterr().err
