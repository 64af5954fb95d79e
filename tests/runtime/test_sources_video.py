"""Video files as sources: every frame, its time, the right way up, and what happens to files that are not whole."""

from __future__ import annotations

import os
import struct
import threading
import time
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_maker import cut, make_clip, noise, number_of, numbered

from edgeseg.errors import InputError
from edgeseg.runtime.sources import open_source

QUARTER = 65536


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_every_frame_in_order_with_its_time(tmp_path: Path, suffix: str) -> None:
    path = make_clip(tmp_path / f"clip.{suffix}", [numbered(k) for k in range(25)])
    before_ns = time.monotonic_ns()
    with open_source(str(path)) as source:
        assert (source.name, source.live, source.unrelated, source.fps) == (str(path), False, False, 10.0)
        frames = list(source)
    assert [frame.number for frame in frames] == list(range(25))
    assert [number_of(frame.image) for frame in frames] == list(range(25))
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 10 for k in range(25)], abs=1e-6)
    assert all(frame.source == str(path) and frame.name is None for frame in frames)
    moments = [frame.captured_ns for frame in frames]
    assert before_ns < moments[0]
    assert moments == sorted(moments)
    assert source.broken is None


def test_pictures_are_contiguous_bgr(tmp_path: Path) -> None:
    # 66 pixels are padded in the decoder's memory.
    path = make_clip(tmp_path / "clip.mp4", [numbered(20, 66, 50)])
    (frame,) = open_source(str(path))
    assert frame.image.shape == (50, 66, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    blue, green, red = frame.image[4:20, 4:26].reshape(-1, 3).mean(axis=0)
    assert blue > 240
    assert max(green, red) < 15


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 2.0]
    path = make_clip(tmp_path / "clip.mkv", [numbered(k) for k in range(5)], times_s=times)
    with open_source(str(path)) as source:
        assert [frame.pts_s for frame in source] == pytest.approx(times, abs=1e-3)
    assert source.broken is None


def _with_matrix(path: Path, target: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The same MP4 with another display matrix (a, b, c, d) in its track header."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version 0: 24 bytes of times and ids, 16 of layer, group and volume
    data[start : start + 36] = struct.pack(">9i", matrix[0], matrix[1], 0, matrix[2], matrix[3], 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    "matrix, turned",
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)),
        ((-1, 0, 0, -1), lambda image: cv2.rotate(image, cv2.ROTATE_180)),
        ((0, -1, 1, 0), lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)),
        ((-1, 0, 0, 1), lambda image: cv2.flip(image, 1)),
        ((1, 0, 0, -1), lambda image: cv2.flip(image, 0)),
        ((0, 1, 1, 0), lambda image: cv2.transpose(image)),
        ((0, -1, -1, 0), lambda image: cv2.flip(cv2.transpose(image), -1)),
    ],
    ids=["upright", "right", "over", "left", "mirrored", "upside down", "transposed", "transverse"],
)
def test_the_display_matrix_is_carried_out(tmp_path: Path, matrix: tuple[int, int, int, int], turned) -> None:  # type: ignore[no-untyped-def]
    plain = make_clip(tmp_path / "plain.mp4", [numbered(30)])
    scaled = (matrix[0] * QUARTER, matrix[1] * QUARTER, matrix[2] * QUARTER, matrix[3] * QUARTER)
    (reference,) = open_source(str(plain))
    (frame,) = open_source(str(_with_matrix(plain, tmp_path / "turned.mp4", scaled)))
    np.testing.assert_array_equal(frame.image, turned(reference.image))
    assert frame.image.flags.c_contiguous


@pytest.mark.parametrize("suffix, movflags", [("mkv", ""), ("mp4", "faststart"), ("mp4", "frag_keyframe+empty_moov")])
@pytest.mark.parametrize("share", [0.3, 0.62, 0.9])
def test_a_cut_off_video_gives_what_it_has(tmp_path: Path, suffix: str, movflags: str, share: float) -> None:
    whole = make_clip(tmp_path / f"whole.{suffix}", noise(40), fps=20, movflags=movflags)
    part = cut(whole, tmp_path / f"part.{suffix}", share)
    reference = [frame.image for frame in open_source(str(whole))]
    with open_source(str(part)) as source:
        images = [frame.image for frame in source]
    assert 40 * share - 4 <= len(images) <= 40 * share + 1
    for image, expected in zip(images, reference, strict=False):
        np.testing.assert_array_equal(image, expected)
    assert source.broken is not None
    assert "the file ends" in source.broken


def test_max_frames_before_the_cut_says_nothing(tmp_path: Path) -> None:
    part = cut(make_clip(tmp_path / "whole.mkv", noise(40), fps=20), tmp_path / "part.mkv", 0.5)
    with open_source(str(part), max_frames=5) as source:
        assert len(list(source)) == 5
    assert source.broken is None


def test_damage_in_the_middle_costs_little_and_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_clip(tmp_path / "clip.mp4", noise(40), fps=20)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = bytes(range(7, 97)) * 100
    path.write_bytes(data)
    with open_source(str(path)) as source:
        numbers = [frame.number for frame in source]
    assert 30 <= len(numbers) < 40
    assert numbers == list(range(len(numbers)))
    assert source.broken is None
    err = capfd.readouterr().err
    assert err.startswith("warning: ")
    assert err.count("\n") == 1
    assert "clip.mp4 is damaged" in err


def _sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    return path


def _no_index(path: Path) -> Path:
    return cut(make_clip(path.with_name("whole.mp4"), noise(10)), path, 0.8)


def _no_frame(path: Path) -> Path:
    whole = make_clip(path.with_name("whole.mp4"), noise(10), movflags="faststart")
    data = whole.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 40])
    return path


BAD = {
    "missing": (lambda path: path, "there is no such file"),
    "text": (lambda path: path.write_text("not a video\n" * 40), "is no video"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "pipe": (os.mkfifo, "no regular file"),
    "sound": (lambda path: _sound(path), "it holds audio"),
    "no index": (_no_index, "index is missing"),
    "no frame": (_no_frame, "no frame of the video can be decoded"),
}


@pytest.mark.parametrize("make, told", BAD.values(), ids=BAD.keys())
def test_no_video_is_one_clear_error(make, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(InputError) as caught:
        open_source(str(path))
    message = str(caught.value)
    assert told in message
    assert "bad.mp4" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_text_file_that_ffmpeg_would_play_as_terminal_art(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("some notes\n" * 40)
    with pytest.raises(InputError, match="is no video"):
        open_source(str(path))


def test_a_name_with_colon_and_spaces(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "plain.mp4", [numbered(1)])
    odd = path.rename(tmp_path / "http: a clip %d.mp4")
    assert len(list(open_source(str(odd)))) == 1


def test_closing_from_another_thread_ends_the_iteration(tmp_path: Path) -> None:
    source = open_source(str(make_clip(tmp_path / "clip.mp4", [numbered(k) for k in range(40)])))
    seen = []
    for frame in source:
        seen.append(frame.number)
        if len(seen) == 3:
            closer = threading.Thread(target=source.close)
            closer.start()
            closer.join()
    assert seen == [0, 1, 2]
    assert list(source) == []
    source.close()


def test_closing_in_the_middle_of_reads_is_safe(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", [numbered(k % 40, 640, 480) for k in range(60)])
    for wait_s in (0.0, 0.005, 0.02):
        source = open_source(str(path))
        reader = threading.Thread(target=lambda opened=source: [frame.number for frame in opened])
        reader.start()
        time.sleep(wait_s)
        source.close()
        reader.join(60)
        assert not reader.is_alive()


def test_healthy_clips_of_other_makers_are_not_called_broken(shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counts = {
        "webcam-sign-yes.mkv": 65,
        "talking-head-qcif.mp4": 120,
        "driving-highway.mp4": 221,
    }
    for name, count in counts.items():
        with open_source(str(shared / "clips" / name)) as source:
            assert sum(1 for _ in source) == count, name
        assert source.broken is None, name
    assert capfd.readouterr().err == ""
