"""Raw frames on standard input: real pipes, FFmpeg's own conversion as the reference for every layout."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgeseg.cli.main import main
from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.sources import RawFormat, RawFrames, StreamOptions, open_source
from edgeseg.runtime.sources.pixel_formats import FORMATS


def picture(width: int, height: int) -> Any:
    """Soft colours: what conversions share of a block of colour then hardly matters."""
    small = np.random.default_rng(5).integers(30, 220, (3, 4, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def laid_out(image: Any, name: str) -> bytes:
    """The picture as FFmpeg lays it out, without padding."""
    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=name)
    encoder = av.CodecContext.create("rawvideo", "w")
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], name
    encoder.time_base = 1
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (62, 6), (2, 2)])
def test_every_layout_agrees_with_ffmpeg(name: str, size: tuple[int, int]) -> None:
    image = picture(*size)
    data = laid_out(image, name)
    assert FORMATS[name].size_bytes(*size) == len(data)
    bgr = FORMATS[name].to_bgr(data, *size)
    back = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=name).to_ndarray(format="bgr24")
    assert bgr.shape == image.shape and bgr.flags.c_contiguous
    assert np.abs(bgr.astype(int) - back).mean() < (0.01 if "gr" in name or "rgb" in name else 2)


def test_rows_with_padding_and_an_offset() -> None:
    image = picture(5, 4)
    padded = np.full((4, 16), 7, np.uint8)
    padded[:, :15] = image.reshape(4, 15)
    data = b"xx" + padded.tobytes()[:-1]
    np.testing.assert_array_equal(FORMATS["bgr24"].to_bgr(data, 5, 4, stride=16, offset=2), image)


def test_an_odd_width_ends_with_half_a_pair() -> None:
    # As GStreamer lays them out: rows of whole pairs.
    wide = np.random.default_rng(0).integers(0, 256, (3, 6, 2), dtype=np.uint8)
    for name in ("yuyv422", "uyvy422"):
        expected = FORMATS[name].to_bgr(wide.tobytes(), 6, 3)[:, :5]
        np.testing.assert_array_equal(FORMATS[name].to_bgr(wide.tobytes(), 5, 3, stride=12), expected)
        assert FORMATS[name].to_bgr(wide.tobytes(), 1, 3, stride=12).shape == (3, 1, 3)


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_can_be_drawn_on(name: str) -> None:
    image = FORMATS[name].to_bgr(bytes(4 * 2 * 4), 4, 2)
    assert image.flags.writeable and image.flags.c_contiguous


@contextmanager
def pipe(content: bytes, piece: int = 100_000, pause_s: float = 0.0) -> Iterator[int]:
    """The reading end of a pipe that a thread writes to."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=0) as stream:
            try:
                for start in range(0, len(content), piece):
                    stream.write(content[start : start + piece])
                    time.sleep(pause_s)
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        os.close(reader)
        thread.join(60)


def test_frames_come_in_order_however_they_are_cut() -> None:
    images = [np.full((6, 10, 3), number, np.uint8) for number in range(20)]
    with pipe(b"".join(image.tobytes() for image in images), piece=77) as reader:
        source = RawFrames(RawFormat(10, 6, fps=5), descriptor=reader)
        assert (source.name, source.live, source.fps) == ("-", False, 5)
        frames = list(source)
    assert [int(frame.image.max()) for frame in frames] == list(range(20)) and source.broken is None
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 5 for number in range(20)])
    assert [frame.captured_ns for frame in frames] == sorted({frame.captured_ns for frame in frames})


def test_an_end_within_a_frame_and_no_frame_at_all() -> None:
    with pipe(bytes(100 * 2 + 30)) as reader:
        source = RawFrames(RawFormat(10, 10, "gray"), descriptor=reader)
        assert len(list(source)) == 2
    assert source.broken == "standard input ends in the middle of a frame, after 30 of 100 bytes"
    with pipe(b"") as reader:
        source = RawFrames(RawFormat(10, 10, "gray"), descriptor=reader)
        assert list(source) == [] and source.broken == "standard input is empty"


def test_closing_does_not_wait_for_a_silent_writer() -> None:
    reader, writer = os.pipe()
    source = RawFrames(RawFormat(10, 10), descriptor=reader)
    threading.Timer(0.2, source.close).start()
    assert list(source) == []
    os.close(reader)
    os.close(writer)


def test_what_raw_frames_are_not() -> None:
    with pytest.raises(UsageError, match=r"need their size: -. Give --raw-size"):
        open_source("-")
    with pytest.raises(UsageError, match="Did you mean 'yuv420p'"):
        RawFormat(64, 48, "yuv420")
    with pytest.raises(UsageError, match="63x48. Sides of yuv420p are multiples of 2"):
        RawFormat(63, 48, "yuv420p")
    with pytest.raises(UsageError, match="Sides are 1 to 16384"):
        RawFormat(20000, 48)
    with pytest.raises(UsageError, match="above 0"):
        RawFormat(64, 48, fps=0)
    with pytest.raises(UsageError, match="bad rate of raw frames: inf"):
        RawFormat(64, 48, fps=float("inf"))
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    with pytest.raises(InputError, match="cannot read standard input: Bad file descriptor"):
        RawFrames(RawFormat(10, 10), descriptor=reader)
    controller, terminal = os.openpty()
    with pytest.raises(UsageError, match="standard input is a terminal"):
        RawFrames(RawFormat(10, 10), descriptor=terminal)
    os.close(controller)
    os.close(terminal)


def test_the_command_line_reads_a_pipe(tmp_path: Path, tiny_model: Path) -> None:
    content = b"".join(laid_out(np.full((48, 64, 3), value, np.uint8), "nv12") for value in (20, 240, 20))
    words = ["run", "-", "--raw-size", "64x48", "--raw-format", "nv12", "--model", str(tiny_model)]
    program = [sys.executable, "-m", "edgeseg", *words, "--backend", "onnxruntime", "--masks", str(tmp_path)]
    done = subprocess.run(program, input=content, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(tmp_path.glob("*.png"))]
    assert [int(mask.max()) for mask in masks] == [0, 1, 0] and masks[1].shape == (48, 64)
    empty = subprocess.run(program, input=b"", capture_output=True, timeout=120, check=False)
    assert empty.returncode == 3 and b"gave no frame: - (standard input is empty)" in empty.stderr


def test_standard_input_is_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-", "-", "--raw-size", "64x48"]) == 2
    assert main(["run", "-", "--raw-size", "64"]) == 2
    told = capsys.readouterr().err
    assert "standard input is one source: - -" in told and "Give WIDTHxHEIGHT in pixels" in told


def test_the_options_reach_the_source() -> None:
    options = StreamOptions(raw=RawFormat(4, 2, "gray"))
    with pipe(bytes(range(16))) as reader:
        kept = os.dup(0)
        os.dup2(reader, 0)
        try:
            with open_source("-", max_frames=2, options=options) as source:
                assert [int(frame.image[-1, -1, 0]) for frame in source] == [7, 15]
        finally:
            os.dup2(kept, 0)
            os.close(kept)
