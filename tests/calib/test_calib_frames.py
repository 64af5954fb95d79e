"""Which pictures calibration sees: folders, data sets, splits and clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edgeseg.calib.frames import FrameSet, list_pictures, sample
from edgeseg.errors import InputError, UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime.preprocess import Preprocessor
from edgeseg.types import ClassInfo

MANIFEST = Manifest("toy", (ClassInfo(0, "nothing", (0, 0, 0)),), 12, 16, fit="letterbox")


@pytest.fixture()
def data(tmp_path: Path) -> Path:
    """images/ and masks/ of six pictures whose gray is ten times their number; train.txt names four."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(6):
            picture = np.full((30, 20, 3), 10 * number if name == "images" else 255, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    (tmp_path / "train.txt").write_text("5\n0\n2\n3\n")
    return tmp_path


def grays(frames: FrameSet) -> list[int]:
    """The middle pixel of each picture, in tens."""
    return [int(picture[0, 6, 8, 0]) // 10 for picture, _ in frames.inputs(MANIFEST)]


def test_a_data_set_gives_its_images_and_never_its_masks(data: Path) -> None:
    assert grays(FrameSet(data)) == [0, 1, 2, 3, 4, 5]
    assert grays(FrameSet(data / "images", stride=2)) == [0, 2, 4]
    assert grays(FrameSet(data, split="train")) == [5, 0, 2, 3]


def test_pictures_pass_the_runtimes_preprocessing(data: Path) -> None:
    (picture, digest), *_ = FrameSet(data).inputs(MANIFEST)
    expected, _ = Preprocessor(MANIFEST)(cv2.imread(str(data / "images" / "0.png")))  # type: ignore[arg-type]
    np.testing.assert_array_equal(picture, expected)
    assert picture.shape == (1, 12, 16, 3) and len(digest) == 64


def test_a_draw_depends_on_its_seed_alone() -> None:
    first, again, other = (sample(range(1000), 20, seed) for seed in (1, 1, 2))
    assert first == again == sorted(first) != other
    assert len(set(first)) == 20
    assert sample(range(3), 20, 0) == sample(range(3), None, 0) == [0, 1, 2]


def test_a_clip_gives_every_frame_of_the_draw(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 20, 30, "bgr0", Fraction(1, 10)
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((30, 20, 3), 10 * number, np.uint8), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert grays(FrameSet(path)) == list(range(8))
    assert grays(FrameSet(path, stride=3)) == [0, 3, 6]
    assert len(grays(FrameSet(path, count=3))) == 3
    with pytest.raises(UsageError, match="splits"):
        grays(FrameSet(path, split="train"))


def test_sources_that_cannot_be_read(data: Path, tmp_path: Path) -> None:
    for source in (data / "gone", data / "gone.mp4", data / "train.txt"):
        with pytest.raises(InputError, match=source.name.replace(".", r"\.")):
            grays(FrameSet(source))
    with pytest.raises(InputError, match=r"test\.txt"):
        list_pictures(data, "test")
    (data / "val.txt").write_text("9\n")
    with pytest.raises(InputError, match="9"):
        list_pictures(data, "val")
    (data / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        grays(FrameSet(data / "empty"))
    with pytest.raises(UsageError, match="stride"):
        FrameSet(data, stride=0)
