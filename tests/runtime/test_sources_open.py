"""`open_source`: which word opens which kind, what is refused, and that sources are always closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from clip_maker import make_clip, numbered

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.sources import DEMO_CLIP, FrameSource, Pictures, Synthetic, VideoFile, open_source
from edgeseg.types import Frame


def test_the_demo_is_a_clip_that_ships_and_says_whose_it_is() -> None:
    with open_source("demo") as source:
        assert (source.name, source.live, source.fps) == ("demo", False, 30.0)
        frames = list(source)
    assert len(frames) == 176
    assert source.broken is None
    assert {frame.image.shape for frame in frames} == {(480, 640, 3)}
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 30 for k in range(176)])
    assert DEMO_CLIP.stat().st_size < 2_000_000
    assert "CC BY 4.0" in (DEMO_CLIP.parent / "CREDITS.md").read_text(encoding="utf-8")


def test_each_word_opens_its_kind(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [numbered(0)])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    import cv2

    cv2.imwrite(str(pictures / "0.png"), numbered(0))
    words = {
        "demo": VideoFile,
        str(clip): VideoFile,
        str(pictures): Pictures,
        f"{pictures}/*.png": Pictures,
        str(pictures / "0.png"): Pictures,
        "synthetic:8x8": Synthetic,
        "synthetic:8x8@30": Synthetic,
    }
    for word, kind in words.items():
        with open_source(word, max_frames=1) as source:
            assert type(source) is kind
            assert [frame.source for frame in source] == [word]
    with open_source(clip) as source:
        assert source.name == str(clip)


@pytest.mark.parametrize("spec", ["ftp://host/clip.mp4"])
def test_what_comes_later_is_said_to(spec: str) -> None:
    with pytest.raises(UsageError, match="not in this version") as caught:
        open_source(spec)
    assert caught.value.exit_code == 2
    assert spec in str(caught.value)


@pytest.mark.parametrize("spec", ["", "no-such-file.mp4", "no/such/folder/", "dmeo", "x" * 5000, "a\0b"])
def test_what_does_not_exist_lists_what_could(spec: str) -> None:
    with pytest.raises(InputError, match="no such file, folder or source") as caught:
        open_source(spec)
    assert "demo" in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_wrong_usage(limit: int) -> None:
    with pytest.raises(UsageError, match=str(limit)):
        open_source("synthetic:8x8", max_frames=limit)


class Counting(FrameSource):
    """Endless frames; counts how often it was released, and fails at a frame."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__("counting")
        self.fails_at, self.released = fails_at, 0

    def _read(self) -> Frame | None:
        if self._count == self.fails_at:
            raise OSError("the device is gone")
        return Frame(numbered(0), self._count, 0)

    def _release(self) -> None:
        self.released += 1


def test_a_source_is_released_once_however_it_ends() -> None:
    failing = Counting(fails_at=2)
    with pytest.raises(OSError, match="gone"):
        list(failing)
    left = Counting()
    frames = iter(left)
    assert next(frames).number == 0
    frames.close()  # type: ignore[attr-defined]  # what `break` in a loop leads to
    managed = Counting()
    with managed:
        pass
    for source in (failing, left, managed):
        assert source.released == 1
        source.close()
        assert source.released == 1
        assert list(source) == []
