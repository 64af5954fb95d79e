"""The small protobuf reader: what it finds in real files, and that damage of any kind is a ModelError, nothing else."""

from __future__ import annotations

import hashlib
import random
import zipfile
from pathlib import Path

import pytest
from decoder_model import write_decoder_model

from edgeseg.errors import EdgeSegError, ModelError
from edgeseg.runtime.backends.model_file import read_model_file


def test_reads_what_onnx_wrote(tiny_model: Path, tmp_path: Path) -> None:
    found = read_model_file(tiny_model)
    assert (found.manifest.name, found.manifest.height, found.has_functions) == ("tiny", 32, False)
    assert found.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    decoder = read_model_file(write_decoder_model(tmp_path / "decoder.onnx"))
    assert (decoder.manifest.width, decoder.has_functions) == (40, True)


def test_other_metadata_does_no_harm(tiny_model: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_model)
    model.metadata_props.insert(0, onnx.StringStringEntryProto(key="author", value="someone\u00e9"))
    model.metadata_props.insert(0, onnx.StringStringEntryProto(key="without a value"))
    onnx.save(model, tmp_path / "more.onnx")
    assert read_model_file(tmp_path / "more.onnx").manifest == read_model_file(tiny_model).manifest


def test_a_checkpoint_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "last.pt", "w") as checkpoint:  # as torch writes it
        checkpoint.writestr("archive/data.pkl", "weights")
    with pytest.raises(
        ModelError, match=r"a checkpoint is no model file: .*last\.pt\. Run edgeseg export .*last\.pt -o"
    ):
        read_model_file(tmp_path / "last.pt")


def test_a_file_cut_anywhere_is_a_model_error(tiny_model: Path, tmp_path: Path) -> None:
    content, path = tiny_model.read_bytes(), tmp_path / "cut.onnx"
    for end in range(0, len(content), 5):
        path.write_bytes(content[:end])
        with pytest.raises(ModelError):
            read_model_file(path)


def test_scrambled_bytes_never_surprise(tiny_model: Path, tmp_path: Path) -> None:
    content, path, rng = tiny_model.read_bytes(), tmp_path / "scrambled.onnx", random.Random(0)
    refused = 0
    for _ in range(200):
        bad = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        try:
            read_model_file(path)
        except EdgeSegError:
            refused += 1
    assert refused > 25
