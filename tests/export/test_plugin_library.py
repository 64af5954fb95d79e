"""The plugin library in real TensorRTs: found, loaded once, both plugins made, wrong ones refused. No GPU is needed.

`make ext` compiles it and `make tensorrt` fetches the versions. What the plugins do is tested in C++ (`make test-ext`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from export_helpers import Exported
from needed import skip_or_fail

from edgeseg.cli.main import main
from edgeseg.errors import InputError
from edgeseg.export import plugin as under_test
from edgeseg.runtime.backends import plugin_library
from edgeseg.runtime.backends.plugin_library import LIBRARY, find_library

LOADER = Path(__file__).resolve().parents[2] / "cpp_ext" / "tests" / "load_in_tensorrt.py"
TWICE = """
import sys
from pathlib import Path
import tensorrt as trt
from edgeseg.export import plugin
registry = trt.get_plugin_registry()
before = plugin.missing(registry)
for _ in range(2):
    plugin.load_library(trt, Path(sys.argv[1]))
names = [item.name for item in registry.all_creators]
print(before, [names.count(name) for name in plugin.NAMES])
"""

# As Triton does it: TensorRT is loaded, and the plugin library opened, nothing else.
OPENED = """
import ctypes, sys
import tensorrt as trt
logger = trt.Logger(trt.Logger.ERROR)
trt.init_libnvinfer_plugins(logger, "")
for _ in range(2):
    ctypes.CDLL(sys.argv[1])
print(sorted(item.name for item in trt.get_plugin_registry().all_creators if item.plugin_namespace == "edgeseg"))
"""


@pytest.fixture(scope="module")
def built() -> Path:
    """The library that `make ext` left."""
    path = find_library()
    if path is None:
        message = "no plugin library: run make ext"
        skip_or_fail(message)
    return path


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """A Python process that ends well."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


def child(*command: object) -> str:
    """What it prints."""
    return run(*command).stdout


def test_both_plugins_come_out_of_the_registry(library: str, built: Path) -> None:
    found: dict[str, Any] = json.loads(child(LOADER, built))
    assert found["version"].startswith(library) and found["loaded"]
    for name, fields in (("UpsampleCropConcat", ["scale", "mode"]), ("LabelMap", ["scale"])):
        assert found[name] == {
            "fields": fields,
            "created": True,
            "capabilities": ["CORE", "BUILD", "RUNTIME"],
            "refused": True,
        }


def test_it_is_loaded_once(library: str, built: Path) -> None:
    assert child("-c", TWICE, built).strip() == "['UpsampleCropConcat', 'LabelMap'] [1, 1]"


def test_the_loader_registers_it_by_being_opened(library: str, built: Path, tmp_path: Path) -> None:
    """Of the major version whose headers it was built with, 10.3's or the machine's; elsewhere it says why not."""
    assert child("-c", OPENED, built).strip() == "[]"
    done = run("-c", OPENED, built.with_name(under_test.LOADER))
    found, told = done.stdout.strip().splitlines()[-1], done.stdout + done.stderr
    if "build it with headers of the same major version" in told:
        assert found == "[]" and library.startswith("11")
    else:
        assert found == "['LabelMap', 'UpsampleCropConcat']", told
    alone = shutil.copy(built.with_name(under_test.LOADER), tmp_path)
    assert run("-c", OPENED, alone).stdout.strip().endswith("[]")


def test_the_matrix_tries_neither_the_loader_nor_other_machines_libraries(tmp_path: Path) -> None:
    for name in ("10.3", "loader"):
        (tmp_path / f"libedgeseg_plugin_{name}.so").touch()
    (tmp_path / "arm64-10.15").mkdir()
    (tmp_path / "arm64-10.15" / "complete").touch()
    command = [sys.executable, str(LOADER.with_name("plugin_matrix.py")), str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1 and done.stderr.startswith("error: nothing to try: 1 builds, 0 TensorRTs. ")


def test_each_cell_of_the_matrix_is_tried_from_cpp_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that stand in for load_plugin, an empty file for TensorRT: what is run, and what is made of it."""
    monkeypatch.syspath_prepend(LOADER.parent)
    import plugin_matrix as matrix

    build, tensorrt = tmp_path / "build", tmp_path / "11.2"
    (tensorrt / "lib").mkdir(parents=True)
    (tensorrt / "lib" / "libnvinfer.so.11").touch()
    build.mkdir()
    assert matrix.try_from_cpp(matrix.loader_for((11, 2), build), build / "a.so", tensorrt) == "no load_plugin"
    script = (
        f'#!/bin/sh\n[ "$1:$LD_LIBRARY_PATH" = "{tensorrt}/lib/libnvinfer.so.11:{tensorrt}/lib" ] || exit 9\n'
        "case $2 in *good.so) ;; *) exit 1 ;; esac\n"
    )
    for version in ("10.3", "10.6", "10.15", "11.1"):
        (build / f"load_plugin_{version}").write_text(script)
        (build / f"load_plugin_{version}").chmod(0o755)
    names = [(library, matrix.loader_for(library, build).name) for library in ((10, 6), (10, 9), (10, 15), (11, 2))]
    assert [name for _, name in names] == [f"load_plugin_{version}" for version in ("10.6", "10.6", "10.15", "11.1")]
    loader = matrix.loader_for((11, 2), build)
    assert [matrix.try_from_cpp(loader, build / name, tensorrt) for name in ("good.so", "bad.so")] == [
        "both made",
        "exit 1",
    ]


def test_the_matrix_fails_where_only_cpp_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADER.parent)
    import plugin_matrix as matrix

    (tmp_path / "libedgeseg_plugin_10.3.so").touch()
    (tmp_path / "10.6").mkdir()
    (tmp_path / "10.6" / "complete").touch()
    cell = {"headers": "10.3", "library": "10.6", "must": True, "outcome": "both made"}
    monkeypatch.setattr(matrix, "try_cell", lambda *_: dict(cell))
    out = tmp_path / "cells.json"
    monkeypatch.setattr(sys, "argv", ["plugin_matrix.py", str(tmp_path), str(tmp_path), "--json", str(out)])
    for from_cpp, status in (("both made", 0), ("exit 1", 1), ("no load_plugin", 1)):
        monkeypatch.setattr(matrix, "try_from_cpp", lambda *_, outcome=from_cpp: outcome)
        assert matrix.main() == status
        assert json.loads(out.read_text()) == [cell | {"from_cpp": from_cpp}]


def test_build_loads_it_before_it_asks_for_a_gpu(
    library: str,
    built: Path,
    person: Exported,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGESEG_PLUGIN", str(built))
    order = ["build", str(person.path), "-o", str(tmp_path / "model.engine"), "--backend", "tensorrt", "--plugin"]
    assert main([*order, "auto"]) == 4
    assert capsys.readouterr().err.startswith("error: tensorrt finds no GPU: ")
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    assert main([*order, str(broken)]) == 4
    err = capsys.readouterr().err
    assert err.startswith(f"error: the plugin library does not load: {broken}. ") and err.count("\n") == 1


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESEG_PLUGIN", raising=False)
    places = tuple(tmp_path / folder / LIBRARY for folder in ("lib", "build"))
    assert [place.parent.name for place in plugin_library.PLACES] == ["lib", "build"]
    monkeypatch.setattr(plugin_library, "PLACES", places)
    assert find_library() is None
    for folder in ("build", "lib"):  # a checkout's own; what a wheel brings goes first
        (tmp_path / folder).mkdir()
        (tmp_path / folder / LIBRARY).touch()
        assert find_library() == tmp_path / folder / LIBRARY
    shutil.copy(tmp_path / "lib" / LIBRARY, tmp_path / "mine.so")
    monkeypatch.setenv("EDGESEG_PLUGIN", str(tmp_path / "mine.so"))
    assert find_library() == tmp_path / "mine.so"
    monkeypatch.setenv("EDGESEG_PLUGIN", str(tmp_path / "gone.so"))
    with pytest.raises(InputError, match="gone.so"):
        find_library()


def test_doctor_and_build_say_where_none_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_PLUGIN", str(tmp_path / "gone.so"))
    assert main(["doctor", "--json", "-"]) == 0
    assert "gone.so" in json.loads(capsys.readouterr().out)["plugin"]
    monkeypatch.delenv("EDGESEG_PLUGIN")
    monkeypatch.setattr(plugin_library, "PLACES", ())
    assert main(["doctor", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["plugin"].startswith("none: make ext")
    assert main(["build", "model.onnx", "-o", str(tmp_path / "model.engine"), "--plugin", "auto"]) == 3
    assert capsys.readouterr().err.startswith("error: no plugin library: libedgeseg_plugin.so. Build it")
