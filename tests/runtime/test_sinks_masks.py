"""Label maps as PNG files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import Masks
from edgeseg.types import Frame, Result


def result(number: int, labels: np.ndarray) -> Result:
    """A result with this label map."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    return Result(labels, None, None, Frame(image, number, 0), PERSON)


def test_lossless_one_channel_at_each_frames_size(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    sizes = {0: (48, 64), 7: (33, 1), 12: (5, 80)}
    maps = {number: random.integers(0, 256, size).astype(np.uint8) for number, size in sizes.items()}
    sink = Masks(tmp_path / "masks")
    for number, labels in maps.items():
        sink.write(result(number, labels))
    sink.close()
    files = sorted((tmp_path / "masks").iterdir())
    assert [path.name for path in files] == ["000000.png", "000007.png", "000012.png"]
    for path, labels in zip(files, maps.values(), strict=True):
        # Colour type 0 of the header: gray, so neither a palette nor three equal channels.
        assert path.read_bytes()[24:26] == b"\x08\x00"
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), labels)


def test_only_the_classes_asked_for(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2, 3, 255]], np.uint8)
    Masks(tmp_path, classes=[1, 3]).write(result(0, labels))
    read = cv2.imread(str(tmp_path / "000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, [[0, 1, 0, 3, 0]])


def test_a_map_that_is_not_contiguous(tmp_path: Path) -> None:
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)[:, ::2]
    Masks(tmp_path).write(result(0, labels))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "000000.png"), cv2.IMREAD_UNCHANGED), labels)


def test_an_earlier_run_is_replaced_where_numbers_meet(tmp_path: Path) -> None:
    for value in (1, 2):
        Masks(tmp_path).write(result(0, np.full((4, 4), value, np.uint8)))
    assert [path.name for path in tmp_path.iterdir()] == ["000000.png"]
    assert cv2.imread(str(tmp_path / "000000.png"), cv2.IMREAD_UNCHANGED)[0, 0] == 2  # type: ignore[index]


@pytest.mark.parametrize("name", ["file", "missing/masks", "file/masks", "/proc/masks"])
def test_an_output_that_cannot_be_written_fails_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match="cannot write the masks"):
        Masks(tmp_path / name)


def test_a_folder_that_goes_away_is_an_output_error(tmp_path: Path) -> None:
    sink = Masks(tmp_path / "masks")
    (tmp_path / "masks").rmdir()
    with pytest.raises(OutputError, match=r"000003\.png"):
        sink.write(result(3, np.zeros((4, 4), np.uint8)))
