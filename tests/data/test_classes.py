"""classes.txt in each of its forms, CamVid's own, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.classes import label_table, read_classes
from edgeseg.data.pool import Pool, SetConfig
from edgeseg.errors import InputError


def test_forms(tmp_path: Path) -> None:
    text = "# a comment\nroad\n\n4 traffic light  # behind a gap\n7 tree 1 2 3\n255a\n"
    (tmp_path / "classes.txt").write_text(text)
    found = [(item.value, item.name, item.color) for item in read_classes(tmp_path)]
    assert found == [(0, "road", None), (4, "traffic light", None), (7, "tree", (3, 2, 1)), (3, "255a", None)]
    assert read_classes(tmp_path / "elsewhere") == ()


def test_values_become_ids_by_name(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 Sky\n1 Road\n9 Unlabelled")
    table = label_table(read_classes(tmp_path), ["road", "sky"], tmp_path)
    assert (table[0], table[1], table[9], table[5], table[255]) == (1, 0, 255, 255, 255)
    with pytest.raises(InputError, match="that the model has not: Road in .*classes.txt"):
        label_table(read_classes(tmp_path), ["sky"], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 a\n0 b", "value stands twice in the list: 0"), ("a\nA", "name stands twice"), ("300 a", "too large: 300")],
)
def test_wrong_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_classes(tmp_path)


def test_camvid_by_name(shared: Path) -> None:
    listed = read_classes(shared / "data" / "camvid")
    names = [item.name for item in listed if not item.void]
    assert len(names) == 11 and listed[-1].void
    pool = Pool(shared / "data", SetConfig("camvid", split="val"), 11, names, cache=False)
    _, mask = pool[0]
    assert set(np.unique(mask)) <= {*range(11), 255}
    assert 255 in mask
