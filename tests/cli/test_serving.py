"""`edgeseg export NAME --triton --deepstream` needs no torch: shipped files go into a repository as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.cli.main import main
from edgeseg.manifest import Manifest
from edgeseg.runtime.zoo import find_model


def test_shipped_models_are_served_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models, deepstream = tmp_path / "models", tmp_path / "deepstream"
    for precision, name in (("fp32", "person"), ("int8", "person-int8")):
        words = ["export", "person", "--precision", precision, "--name", name, "--triton", models]
        assert main([*map(str, words), "--deepstream", str(deepstream), "--json", "-"]) == 0
        out, err = capsys.readouterr()
        figures = json.loads(out)
        assert Path(figures["triton"]["folder"]) == models / name
        assert Path(figures["deepstream"]) == deepstream / f"config_infer_{name}.txt"
        assert f"--model-repository={models}" in err
        assert (models / name / "1" / "model.onnx").read_bytes() == find_model("person").files[precision].read_bytes()
        assert Manifest.from_json((models / name / "manifest.json").read_text()).precision == precision
    # They come out of the wheel, too.
    files = {"config_infer_person.txt", "config_infer_person-int8.txt", "edgeseg_labels.cpp", "Makefile", "README.md"}
    assert {path.name for path in deepstream.iterdir()} == files


def test_a_file_by_its_path_is_served_without_torch(tiny_model: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from edgeseg.cli.main import main;"
        f"assert main(['export', {str(tiny_model)!r}, '--triton', {str(tmp_path)!r}]) == 0;"
        "heavy = {'torch', 'onnx'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "tiny" / "1" / "model.onnx").read_bytes() == tiny_model.read_bytes()


@pytest.mark.parametrize(
    "words, exit_code, told",
    [
        (["person"], 2, "--triton"),
        (["person", "-o", "x.onnx", "--deepstream", "d"], 2, "--triton"),
        (["person", "-o", "x.onnx", "--max-batch", "2"], 2, "--triton"),
        (["person", "-o", "x.onnx", "--name", "p"], 2, "--triton"),
        (["person", "--triton", "t", "--precision", "fp16"], 2, "fp16"),
        (["person", "-o", "x.onnx", "--triton", "t", "--precision", "int8"], 2, "int8"),
        (["last.pt", "--triton", "t", "--precision", "int8"], 2, "last.pt"),
        (["person", "--triton", "t", "--max-batch", "0"], 2, "0"),
        (["person", "--triton", "t", "--name", "a/b"], 2, "a/b"),
        (["nobody", "--triton", "t"], 2, "nobody"),
        (["gone.engine", "--triton", "t"], 3, "gone.engine"),
        (["gone.onnx", "--triton", "t"], 3, "gone.onnx"),
    ],
)
def test_what_is_refused_writes_nothing(
    words: list[str],
    exit_code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == exit_code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and told in err
    assert not list(tmp_path.iterdir())


def test_a_model_that_deepstream_cannot_run_is_not_put_into_the_repository(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_tiny_model: object
) -> None:
    assert callable(make_tiny_model)
    tiled = make_tiny_model(tmp_path / "tiled.onnx", output_height=16, output_width=16)
    words = ["export", tiled, "--triton", tmp_path / "models", "--deepstream", tmp_path / "deepstream"]
    assert main([*map(str, words)]) == 4
    assert "16x16" in capsys.readouterr().err
    assert not (tmp_path / "models").exists() and not (tmp_path / "deepstream").exists()
