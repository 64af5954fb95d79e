"""The table of ranges survives a round trip and refuses what was tampered with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgeseg.calib.ranges import Ranges
from edgeseg.errors import InputError, ModelError, OutputError

TABLE = Ranges(
    {"a": (-1.25, 0.1), "b": (0.0, 6.0)},
    "mse",
    "ab" * 32,
    "toy",
    {"sha256": ["cd" * 32], "seed": 0},
    "0.1.0",
    {"b": (6.0, 0.5)},
)


def test_round_trip(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "ranges.json")
    assert Ranges.load(tmp_path / "ranges.json") == TABLE
    assert [path.name for path in tmp_path.iterdir()] == ["ranges.json"]


def test_the_fingerprint_covers_every_field() -> None:
    changed = {
        "tensors": {"a": (-1.25, 0.1), "b": (0.0, 6.1)},
        "method": "minmax",
        "model_sha256": "ba" * 32,
        "model_name": "other",
        "frames": {"sha256": ["dd" * 32], "seed": 0},
        "edgeseg_version": "0.2.0",
        "channels": {"b": (6.0, 0.6)},
    }
    assert set(changed) == {field.name for field in dataclasses.fields(Ranges)}
    prints = {dataclasses.replace(TABLE, **{key: value}).fingerprint for key, value in changed.items()}
    assert len(prints | {TABLE.fingerprint}) == len(changed) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": {"a": [-1.0, 0.1], "b": [0.0, 6.0]}},
        {"method": "minmax"},
        {"format_version": 99},
        {"tensors": {"a": 3}},
        {"channels": {"b": 3}},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_changed_table_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "ranges.json"
    TABLE.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match="calibrate again"):
        Ranges.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '"x"', "{"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ranges.json").write_text(text)
    with pytest.raises(ModelError):
        Ranges.load(tmp_path / "ranges.json")


def test_paths_that_do_not_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone"):
        Ranges.load(tmp_path / "gone.json")
    with pytest.raises(OutputError, match="missing"):
        TABLE.save(tmp_path / "missing" / "ranges.json")
