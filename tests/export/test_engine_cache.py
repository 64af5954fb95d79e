"""Engines built on first use: the real builder of TensorRT-RTX, real processes, the command line without a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from export_helpers import Exported

from edgeseg.cli.main import main
from edgeseg.errors import BackendError, ModelError
from edgeseg.export.build_engine import build_engine
from edgeseg.manifest import beside
from edgeseg.runtime.backends import gpu as gpu_module
from edgeseg.runtime.backends.engine_cache import build_elsewhere, built_before, cached_engine, engine_place, rebuild
from edgeseg.runtime.backends.engine_file import read_engine_file
from edgeseg.runtime.backends.gpu import gpu_count

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
no_gpu = pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
DEVICE = "a GPU that is not here, 8.6"

TWO_AT_ONCE = """
import sys
from pathlib import Path
from edgeseg.runtime.backends.engine_cache import cached_engine
print(cached_engine(Path(sys.argv[1]), "tensorrt-rtx", sys.argv[2], "fp32", sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def version() -> str:
    import tensorrt_rtx

    return str(tensorrt_rtx.__version__)


@needs_rtx
def test_two_processes_at_once_build_it_once(person: Exported, cache: Path) -> None:
    command = [sys.executable, "-c", TWO_AT_ONCE, str(person.path), version(), DEVICE]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    told = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    places = {out.strip() for out, _ in told}
    assert len(places) == 1 and sum("building an engine once" in err for _, err in told) == 1
    assert sum("another process builds" in err for _, err in told) == 1
    place = Path(places.pop())
    assert [place] == list(cache.glob("*.engine")) and read_engine_file(place).library == "tensorrt-rtx"
    assert built_before(person.path, "fp32") == ["tensorrt-rtx"] and built_before(person.path, "int8") == []
    # From there the next time.
    stamp = place.stat().st_mtime_ns
    assert cached_engine(person.path, "tensorrt-rtx", version(), "fp32", DEVICE) == place
    assert place.stat().st_mtime_ns == stamp


def test_an_engine_is_for_one_file_library_precision_device_and_plugin(
    person: Exported, int8: Path, tmp_path: Path
) -> None:
    plugins = [tmp_path / name for name in ("one.so", "two.so", "one-again.so")]
    for plugin, content in zip(plugins, (b"one", b"two", b"one"), strict=True):
        plugin.write_bytes(content)
    one, two, again = (engine_place(person.path, "tensorrt", "10.3", "fp32", DEVICE, plugin) for plugin in plugins)
    # Its content counts, not where it lies.
    assert one == again
    places = {
        one,
        two,
        engine_place(person.path, "tensorrt", "10.3", "fp32", DEVICE),
        engine_place(int8, "tensorrt", "10.3", "fp32", DEVICE),
        engine_place(person.path, "tensorrt-rtx", "10.3", "fp32", DEVICE),
        engine_place(person.path, "tensorrt", "10.4", "fp32", DEVICE),
        engine_place(person.path, "tensorrt", "10.3", "fp16", DEVICE),
        engine_place(person.path, "tensorrt", "10.3", "fp32", "Orin, 8.7"),
    }
    assert len(places) == 8
    assert engine_place(person.path, "tensorrt", "10.3", "fp32", DEVICE) in places


@needs_rtx
def test_what_cannot_be_built_is_the_builder_s_error(person: Exported, cache: Path) -> None:
    with pytest.raises(ModelError, match="int8 cannot be built from this file"):
        cached_engine(person.path, "tensorrt-rtx", version(), "int8", DEVICE)
    assert not list(cache.glob("*.engine"))


def test_a_builder_without_an_answer_is_an_error(
    person: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Exception, match="ended without an answer: exit code 1"):
        build_elsewhere(person.path, tmp_path / "x.engine", "tensorrt", "fp32")


@needs_rtx
def test_a_damaged_engine_is_built_again(person: Exported, tmp_path: Path) -> None:
    path = tmp_path / "m.engine"
    build_engine(person.path, path, "tensorrt-rtx", "fp16")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(ModelError, match=r"cut off.*edgeseg build .* --precision fp16") as caught:
        read_engine_file(path)
    rebuild(caught.value.engine)  # type: ignore[attr-defined]
    assert read_engine_file(path).manifest.precision == "fp16" and path.stat().st_size > 1000
    # Another file under the old name is not taken in silence.
    manifest = json.loads(beside(path).read_text())
    manifest["origin"]["engine"]["onnx_sha256"] = "0" * 64
    beside(path).write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="not the one that the engine was built from"):
        rebuild(read_engine_file(path))


@needs_rtx
@no_gpu
def test_no_gpu_is_exit_code_4_and_says_what_auto_would_take(
    person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "synthetic:64x48", "--max-frames", "1", "--model"]
    assert main([*words, str(person.path)]) == 0
    capsys.readouterr()
    assert main([*words, str(person.path), "--backend", "tensorrt-rtx"]) == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "finds no GPU" in told, told
    assert re.search(r"\. --backend auto takes \w+ fp32 on this machine\.$", told), told

    build_engine(person.path, tmp_path / "m.engine", "tensorrt-rtx")
    capsys.readouterr()
    for more in ([], ["--backend", "tensorrt-rtx"]):
        assert main([*words, str(tmp_path / "m.engine"), *more]) == 4
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and "finds no GPU" in told and ".onnx file" in told, told
    assert main([*words, str(tmp_path / "m.engine"), "--backend", "onnxruntime"]) == 4
    assert "onnxruntime runs no engines" in capsys.readouterr().err
    assert main(["run", "demo", "--model", "person", "--precision", "fp16"]) == 2
    assert "not there in fp16" in capsys.readouterr().err


@needs_rtx
@no_gpu
def test_an_engine_of_another_version_is_said_before_a_gpu_is_asked_for(
    person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.engine"
    build_engine(person.path, path, "tensorrt-rtx")
    manifest = json.loads(beside(path).read_text())
    manifest["origin"]["engine"]["version"] = "1.0.0"
    beside(path).write_text(json.dumps(manifest))
    words = ["run", "synthetic:64x48", "--max-frames", "1", "--model", str(path)]
    assert main(words) == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"found 1.0.0, needed {version()}" in told and "edgeseg build" in told
    # Built again, it fits; what is missing is the GPU.
    assert main([*words, "--rebuild"]) == 4
    told = capsys.readouterr().err
    assert "building the engine again" in told and "finds no GPU" in told
    assert read_engine_file(path).built["version"] == version()


def test_without_a_package_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "gpu_count", lambda: 1)
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(BackendError, match=r"pip install cuda-bindings"):
        gpu_module.open_gpu(None, "tensorrt")
