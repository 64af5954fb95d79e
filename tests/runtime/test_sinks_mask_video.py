"""Label maps as a lossless video: read back by FFmpeg's and OpenCV's decoders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks import Masks, MaskVideo, open_sinks
from edgeseg.types import Frame, Result


def result(number: int, labels: np.ndarray, pts_s: float | None = None) -> Result:
    """A result with this label map."""
    return Result(labels, None, None, Frame(np.zeros((*labels.shape, 3), np.uint8), number, 0, pts_s), PERSON)


def maps_of(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Every label map of a video, and its time in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray")
        frames = list(container.decode(stream))
        return [frame.to_ndarray() for frame in frames], [float(frame.time or 0.0) for frame in frames]


@pytest.mark.parametrize("height, width", [(48, 64), (47, 63), (1, 9), (9, 1), (3, 3)])
def test_every_value_comes_back_at_the_source_s_times(tmp_path: Path, height: int, width: int) -> None:
    random = np.random.default_rng(1)
    maps = [random.integers(0, 256, (height, width)).astype(np.uint8) for _ in range(5)]
    times = [7.0, 7.04, 7.5, 7.51, 9.0]  # of a variable rate
    sink = MaskVideo(tmp_path / "out.mkv")
    for number, (labels, time) in enumerate(zip(maps, times, strict=True)):
        sink.write(result(number, labels[:, ::-1], time))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv.part"]
    sink.close()
    sink.close()
    read, seconds = maps_of(tmp_path / "out.mkv")
    assert all(np.array_equal(one, labels[:, ::-1]) for one, labels in zip(read, maps, strict=True))
    assert seconds == pytest.approx([time - 7.0 for time in times], abs=5e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    with pytest.raises(OutputError, match="closed"):
        sink.write(result(5, maps[0]))


def test_opencv_reads_the_values_too(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sink = MaskVideo(tmp_path / "out.mkv", fps=25.0)
    sink.write(result(0, labels))
    sink.close()
    video = cv2.VideoCapture(str(tmp_path / "out.mkv"))
    read, image = video.read()
    video.release()
    assert read
    # Gray of the full range: made into BGR, each channel still holds the class ids.
    np.testing.assert_array_equal(image, np.repeat(labels[..., None], 3, 2))


def test_another_size_goes_into_another_file_on_the_same_clock(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = [(20, 30), (20, 30), (33, 11), (20, 30)]
    maps = [np.full(size, 10 + k, np.uint8) for k, size in enumerate(sizes)]
    sink = MaskVideo(tmp_path / "out.mkv", fps=10.0)
    for number, labels in enumerate(maps):
        sink.write(result(number, labels))
    sink.close()
    read = [maps_of(tmp_path / name) for name in ("out.mkv", "out.001.mkv", "out.002.mkv")]
    assert [[int(one[0, 0]) for one in images] for images, _ in read] == [[10, 11], [12], [13]]
    assert [seconds for _, seconds in read] == [[0.0, 0.1], [0.2], [0.3]]
    warnings = capfd.readouterr().err.splitlines()
    assert warnings[0] == "warning: out.mkv: frames of 11x33 after 30x20; their masks are in out.001.mkv"
    assert len(warnings) == 2


def test_no_frame_no_file_and_an_older_one_stays_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "out.mkv").write_bytes(b"older")
    MaskVideo(tmp_path / "out.mkv").close()
    assert (tmp_path / "out.mkv").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_target_s_name_decides(tmp_path: Path) -> None:
    (tmp_path / "folder.mkv").mkdir()
    for name, kind in (("maps.mkv", MaskVideo), ("MAPS.MKV", MaskVideo), ("maps", Masks), ("folder.mkv", Masks)):
        (sink,) = open_sinks(masks=tmp_path / name)
        assert type(sink) is kind
        sink.close()
    with pytest.raises(UsageError, match=r"maps\.mp4\. Name a \.mkv"):
        open_sinks(masks=tmp_path / "maps.mp4")


@pytest.mark.parametrize("name", ["missing/out.mkv", "file/out.mkv", "/proc/out.mkv"])
def test_an_output_that_cannot_be_written_fails_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match="cannot write the masks"):
        MaskVideo(tmp_path / name)


def test_a_disk_that_fills_up_is_an_output_error(tmp_path: Path) -> None:
    # /dev/full takes nothing: the sink's own file of a full disk.
    (tmp_path / "out.mkv.part").symlink_to("/dev/full")
    sink = MaskVideo(tmp_path / "out.mkv")
    with pytest.raises(OutputError, match="No space left"):
        for number in range(50):
            sink.write(result(number, np.full((64, 64), number, np.uint8)))
        sink.close()
    sink.close()
    assert not (tmp_path / "out.mkv").exists()


KILLED = """
import os, sys, numpy as np
from edgeseg.runtime.sinks import MaskVideo
from edgeseg.types import ClassInfo, Frame, Result
sink = MaskVideo(sys.argv[1], fps=30.0)
image = np.zeros((48, 64, 3), np.uint8)
for number in range(150):
    frame = Frame(image, number, 0, number / 30)
    sink.write(Result(image[..., 0] + number, None, None, frame, (ClassInfo(0, "background", (0, 0, 0)),)))
os._exit(9)
"""


def test_after_a_kill_the_part_plays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out.mkv")]
    assert subprocess.run(command, check=False).returncode == 9
    read, _ = maps_of(tmp_path / "out.mkv.part")
    assert len(read) >= 100
    assert [int(one[0, 0]) for one in read] == list(range(len(read)))
