"""An engine and its manifest are written so that what breaks off in between is as it was before, or is refused."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gpu import write_engine

from edgeseg.cli.main import main
from edgeseg.errors import ModelError, OutputError
from edgeseg.export.build_engine import write_pair
from edgeseg.manifest import beside
from edgeseg.runtime.backends.engine_file import EngineMisfit, read_engine_file

KILLED = """
import os, signal, sys
from pathlib import Path
from edgeseg.export import to_onnx
from edgeseg.export.build_engine import write_pair
from edgeseg.manifest import Manifest

out, before, renames = Path(sys.argv[1]), int(sys.argv[2]), []
real = os.replace

def replace(source, target):
    if len(renames) == before:
        os.kill(os.getpid(), signal.SIGKILL)
    renames.append(target)
    real(source, target)

os.replace = replace
write_pair(out, b"new", Manifest.from_json(Path(sys.argv[3]).read_text()))
"""


@pytest.mark.parametrize("old", [True, False], ids=["over an old one", "the first one"])
@pytest.mark.parametrize("renames", [0, 1])
def test_killed_while_it_writes(renames: int, old: bool, tiny_model: Path, tmp_path: Path) -> None:
    """Before the first rename all is as it was; between the two, readers refuse what they find."""
    new = beside(write_engine(tmp_path / "new.engine", tiny_model))
    folder = tmp_path / "there"
    folder.mkdir()
    path = folder / "m.engine"
    if old:
        write_engine(path, tiny_model, version="10.3.0")
    before = [file.read_bytes() for file in (path, beside(path))] if old else []
    words = [sys.executable, "-c", KILLED, str(path), str(renames), str(new)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    if renames == 0:
        assert [file.read_bytes() for file in (path, beside(path)) if file.exists()] == before
        return
    with pytest.raises(ModelError, match="is cut off|no manifest beside it") as caught:
        read_engine_file(path)
    assert isinstance(caught.value, EngineMisfit) is old


def test_an_error_while_it_writes_leaves_what_was_there(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_engine(tmp_path / "m.engine", tiny_model)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    manifest = read_engine_file(path).manifest

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for method in ("write_bytes", "write_text"):
        with monkeypatch.context() as patched, pytest.raises(OutputError, match="No space left"):
            patched.setattr(Path, method, full)
            write_pair(path, b"new", manifest)
    beside(path).unlink()
    beside(path).mkdir()
    with pytest.raises(OutputError, match="a folder is"):
        write_pair(path, b"new", manifest)
    beside(path).rmdir()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: before[path.name]}


def test_an_engine_where_an_onnx_file_is_wanted(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_engine(tmp_path / "m.engine", tiny_model)
    for words in (["calibrate", str(path), "--frames", str(tmp_path)], ["export", str(path)]):
        assert main([*words, "-o", str(tmp_path / "out")]) == 4
        assert (
            f"an engine is no ONNX file: {path}. Give what it was built from: {tiny_model}." in capsys.readouterr().err
        )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["-o", "m.plan"], "no engine's file name: m.plan"),
        (["-o", "m.engine", "--workspace-mb", "99999999999999999999"], "bad workspace: 9{20}"),
        (["-o", "m.engine", "--max-batch", "100000"], "bad batch: 100000. Give a whole number from 1 to 4096"),
        (["-o", "there.engine", "--json", "there.onnx"], "the file to write is one that is read: there.onnx"),
        (["-o", "m.engine", "--timing-cache", "there.onnx"], "no timing cache's file name: there.onnx"),
    ],
)
def test_wrong_usage_of_build(
    more: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_bytes(b"the only one")
    assert main(["build", "there.onnx", *more]) == 2
    assert re.match(f"error: {told}", capsys.readouterr().err)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"the only one"]
