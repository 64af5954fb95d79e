"""Folders, patterns and single pictures as sources."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.runtime.sources import open_source


def write(path: Path, value: int, width: int = 30, height: int = 20) -> Path:
    """A PNG of one gray."""
    assert cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))
    return path


def test_a_folder_by_name_links_followed_others_ignored(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    folder.mkdir()
    write(folder / "b.PNG", 1)
    write(folder / "a10.png", 2)
    write(folder / "a9.jpg", 3)
    (folder / "B.png").symlink_to(write(elsewhere / "target.png", 4, 40))
    write(folder / "._b.png", 5)
    (folder / "notes.txt").write_text("no picture")
    (folder / "sub.png").mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with open_source(str(link)) as source:
        assert (source.live, source.unrelated, source.fps, source.broken) == (False, True, None, None)
        frames = list(source)
    assert [frame.name for frame in frames] == ["B.png", "a10.png", "a9.jpg", "b.PNG"]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [4, 2, 3, 1]
    assert [frame.image.shape for frame in frames] == [(20, 40, 3), (20, 30, 3), (20, 30, 3), (20, 30, 3)]
    assert all(frame.pts_s is None and frame.source == str(link) for frame in frames)


def test_a_pattern_and_max_frames(tmp_path: Path) -> None:
    for value, name in enumerate(("x2.png", "x1.png", "y.png", "x3.png", "x4.txt")):
        write(tmp_path / name, value) if name.endswith("png") else (tmp_path / name).write_text("text")
    assert [frame.name for frame in open_source(f"{tmp_path}/x*")] == ["x1.png", "x2.png", "x3.png"]
    assert [frame.name for frame in open_source(f"{tmp_path}/x?.png", max_frames=2)] == ["x1.png", "x2.png"]


def test_a_pattern_reaches_into_folders(tmp_path: Path) -> None:
    for folder in ("b", "a"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "same.png", ord(folder))
    values = [int(frame.image[0, 0, 0]) for frame in open_source(f"{tmp_path}/**/*.png")]
    assert values == [ord("a"), ord("b")]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    (frame,) = open_source(str(write(tmp_path / "shot [1].png", 7)))
    assert frame.name == "shot [1].png"


def test_gray_and_16_bit_become_8_bit_bgr(tmp_path: Path) -> None:
    gray = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    cv2.imwrite(str(tmp_path / "0.png"), gray)
    cv2.imwrite(str(tmp_path / "1.png"), gray.astype(np.uint16) * 256 + 99)
    cv2.imwrite(str(tmp_path / "2.png"), np.dstack([gray, gray, gray, gray]))
    for frame in open_source(str(tmp_path)):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        np.testing.assert_array_equal(frame.image, np.dstack([gray] * 3))


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF block that holds nothing but an orientation."""
    tiff = io.BytesIO()
    tiff.write(b"II*\x00" + struct.pack("<I", 8))
    tiff.write(struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0))
    body = b"Exif\x00\x00" + tiff.getvalue()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16, :16] = 255
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "turned.jpg").write_bytes(_with_orientation(jpeg, 6))  # 6: turn right by a quarter to see it upright
    (frame,) = open_source(str(tmp_path))
    assert frame.image.shape == (48, 32, 3)
    assert frame.image[:12, 20:].mean() > 240
    assert frame.image[20:, :].mean() < 15


def test_an_unreadable_picture_is_left_out_and_keeps_its_number(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "0.png", 10)
    (tmp_path / "1.jpg").write_text("no picture")
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").symlink_to(tmp_path / "gone")
    write(tmp_path / "4.png", 50)
    with open_source(str(tmp_path)) as source:
        frames = [(frame.number, int(frame.image[0, 0, 0])) for frame in source]
    assert frames == [(0, 10), (4, 50)]
    assert source.broken is None
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("1.jpg", "2.png", "3.png"), strict=True):
        assert line.startswith("warning: ")
        assert name in line


def test_nothing_to_read_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "movie.mp4").write_bytes(b"x")
    for spec in (str(tmp_path), f"{tmp_path}/*.mp4", f"{tmp_path}/*.png"):
        with pytest.raises(InputError, match=r"\.jpg") as caught:
            open_source(spec)
        assert str(tmp_path) in str(caught.value)


def test_not_one_readable_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(InputError, match="no picture can be read"):
        open_source(str(tmp_path / "a.png"))
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(InputError, match="2 files"):
        open_source(str(tmp_path))
