"""How built engines are kept: a bounded number, mended once by whoever comes first, and errors of the file system said.

The builder is a stand-in here; tests/export/test_engine_cache.py has the real one.
"""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_gpu import write_engine

from edgeseg.errors import InputError, ModelError, OutputError
from edgeseg.manifest import beside
from edgeseg.runtime.backends import engine_cache, plugin_library
from edgeseg.runtime.backends.engine_cache import cached_engine, rebuild
from edgeseg.runtime.backends.engine_file import EngineMisfit, read_engine_file

DEVICE = "a GPU that is not here, 8.7"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and no plugin unless a test names one."""
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGESEG_PLUGIN", raising=False)
    monkeypatch.setattr(plugin_library, "PLACES", ())
    return tmp_path / "cache" / "engines"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the stand-in for the builder has made; it takes its time."""
    made: list[Path] = []

    def build(onnx: Path, out: Path, *_: object, **__: object) -> None:
        threading.Event().wait(0.2)
        made.append(write_engine(out, onnx))

    monkeypatch.setattr(engine_cache, "build_elsewhere", build)
    return made


def test_a_bounded_number_is_kept_each_with_its_manifest(
    tiny_model: Path, cache: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cache, "KEPT_ENGINES", 2)
    places = [cached_engine(tiny_model, "tensorrt", str(number), "fp32", DEVICE) for number in range(4)]
    assert built == places
    assert set(cache.glob("*.engine")) == set(places[2:])
    assert set(cache.glob("*.engine.json")) == {beside(place) for place in places[2:]}


def test_the_first_engine_has_the_plugin_that_is_found_or_none_that_fails(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "plugin.so"
    monkeypatch.setenv("EDGESEG_PLUGIN", str(plugin))
    with pytest.raises(InputError, match=r"no such plugin library: .*plugin\.so"):
        cached_engine(tiny_model, "tensorrt", "10.3", "fp32", DEVICE)
    tried: list[tuple[str, Path | None]] = []

    def build(onnx: Path, out: Path, library: str, _: str, plugin: Path | None = None, *__: Any, **___: Any) -> None:
        tried.append((library, plugin))
        if plugin is not None and plugin.read_bytes() == b"bad":
            raise ModelError("the plugin library does not load", plugin, "Build it again")
        write_engine(out, onnx)

    monkeypatch.setattr(engine_cache, "build_elsewhere", build)
    places = []
    for content in (b"one", b"two", b"bad"):
        plugin.write_bytes(content)
        for _ in range(2):  # the second time it is there
            places.append(cached_engine(tiny_model, "tensorrt", "10.3", "fp32", DEVICE))
    assert len(places) == 6 and len(set(places)) == 3
    assert tried == [("tensorrt", plugin)] * 3 + [("tensorrt", None)]
    told = capsys.readouterr().err
    assert f"building without the plugin: the plugin library does not load: {plugin}" in told
    cached_engine(tiny_model, "tensorrt-rtx", "1.7", "fp32", DEVICE)
    assert tried[-1] == ("tensorrt-rtx", None)


@pytest.mark.parametrize("damage", ["cut off", "another version"])
def test_of_several_that_find_it_unfit_one_builds_it_again(
    tiny_model: Path, tmp_path: Path, built: list[Path], damage: str
) -> None:
    version = "10.3.0" if damage == "another version" else "10.15.1"
    path = write_engine(tmp_path / "m.engine", tiny_model, version=version)
    found = read_engine_file(path)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(EngineMisfit) as caught:
            read_engine_file(path)
        found = caught.value.engine
    threads = [threading.Thread(target=rebuild, args=(found,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert built == [path]
    assert read_engine_file(path).built["version"] == "10.15.1"


def test_a_file_system_without_locks_is_said(
    tiny_model: Path, built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError, match=r"cannot keep an engine: .*\(No locks available\)\. .*EDGESEG_CACHE"):
        cached_engine(tiny_model, "tensorrt", "10.3", "fp32", DEVICE)
    assert not built


STOPPED = """
from edgeseg.export import build_for_runtime

def build(*_):
    raise KeyboardInterrupt

build_for_runtime.build = build
build_for_runtime.main()
"""


def test_what_a_signal_ended_says_so(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED], input="{}", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"stopped": true}\n', "")


# The signal's own way of ending is set first: whoever runs the tests in the background has it ignored.
@pytest.mark.parametrize(
    "ends",
    [
        "print('{\"stopped\": true}')",
        "signal.signal(signal.SIGINT, signal.SIG_DFL), os.kill(os.getpid(), signal.SIGINT)",
    ],
)
def test_a_signal_during_the_build_is_no_failure(
    tiny_model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    builder = tmp_path / "builder"
    builder.write_text(f"#!{sys.executable}\nimport os, signal\n{ends}\n")
    builder.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(builder))
    with pytest.raises(KeyboardInterrupt):
        cached_engine(tiny_model, "tensorrt", "10.3", "fp32", DEVICE)
    assert not list(cache.glob("*.engine"))
