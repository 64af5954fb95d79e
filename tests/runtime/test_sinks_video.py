"""The video sink: every result drawn, at the source's times, in a file that plays whatever happens."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from clip_maker import Picture, make_clip, number_of, numbered, read_back
from stand_ins import PERSON

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks import Video
from edgeseg.runtime.sinks.video import HYBRID_SINCE
from edgeseg.runtime.sources import open_source
from edgeseg.types import Frame, Result


def result(
    number: int, image: Picture | None = None, pts_s: float | None = None, captured_ns: int = 0, labelled: bool = False
) -> Result:
    """A result on `numbered(number)` unless another picture is given; `labelled`: person in the right half."""
    image = numbered(number) if image is None else image
    labels = np.zeros(image.shape[:2], np.uint8)
    if labelled:
        labels[:, labels.shape[1] // 2 :] = 1
    return Result(labels, None, None, Frame(image, number, captured_ns, pts_s), PERSON)


def save(path: Path, results: list[Result], **options: object) -> tuple[list[Picture], list[float]]:
    """Write results in good quality, read them back."""
    sink = Video(path, **{"crf": 5, **options})  # type: ignore[arg-type]
    for one in results:
        sink.write(one)
    sink.close()
    assert not path.with_name(f"{path.name}.part").exists()
    return read_back(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "mkv"])
def test_frames_come_back_in_order_at_the_source_times(tmp_path: Path, suffix: str) -> None:
    times = [5.0, 5.04, 5.5, 5.51, 7.0, 7.001]
    images, seconds = save(tmp_path / f"out.{suffix}", [result(k, pts_s=time) for k, time in enumerate(times)])
    assert [number_of(image) for image in images] == list(range(6))
    # Matroska counts in milliseconds, the others in 90000ths; times count from the first frame.
    assert seconds == pytest.approx([time - 5.0 for time in times], abs=1e-3 if suffix == "mkv" else 1e-5)
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_a_constant_rate_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    save(path, [result(k % 40, pts_s=k * 1001 / 30000) for k in range(60)], fps=30000 / 1001)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.frames == 60
        assert float(stream.average_rate or 0) == pytest.approx(30000 / 1001, rel=1e-5)
        assert (container.duration or 0) / 1e6 == pytest.approx(60 * 1001 / 30000, abs=1e-3)


def test_a_video_in_gives_the_same_times_out(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", [numbered(k) for k in range(8)], times_s=[0, 0.1, 0.2, 0.5, 0.6, 1, 2, 2.5])
    frames = list(open_source(str(clip)))
    _, seconds = save(tmp_path / "out.mp4", [result(f.number, f.image, f.pts_s) for f in frames], fps=10.0)
    assert seconds == pytest.approx([frame.pts_s for frame in frames], abs=1e-5)


def test_without_timestamps_moments_of_capture_or_the_rate(tmp_path: Path) -> None:
    moments = [10_000_000_000, 10_050_000_000, 10_300_000_000]
    results = [result(number, captured_ns=moment) for number, moment in zip((0, 1, 4), moments, strict=True)]
    assert save(tmp_path / "live.mp4", results, live=True)[1] == pytest.approx([0.0, 0.05, 0.3], abs=1e-5)
    assert save(tmp_path / "rate.mp4", results, fps=20.0)[1] == pytest.approx([0.0, 0.05, 0.2], abs=1e-5)
    assert save(tmp_path / "plain.mp4", results)[1] == pytest.approx([0.0, 1 / 30, 4 / 30], abs=1e-5)


def test_times_that_stand_still_or_run_back_lose_no_frame(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.1, 0.05, 0.2]
    images, seconds = save(tmp_path / "out.mp4", [result(k, pts_s=time) for k, time in enumerate(times)])
    assert [number_of(image) for image in images] == list(range(5))
    assert all(later > sooner for sooner, later in zip(seconds, seconds[1:], strict=False))
    assert seconds[-1] == pytest.approx(0.2, abs=1e-5)


def test_colours_and_labels(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = (255, 0, 0)
    image[24:, :32] = (0, 0, 255)
    (plain,) = save(tmp_path / "plain.mp4", [result(0, image)])[0]
    for rows, wanted in ((slice(4, 20), (255, 0, 0)), (slice(28, 44), (0, 0, 255))):
        np.testing.assert_allclose(plain[rows, 4:28].reshape(-1, 3).mean(axis=0), wanted, atol=12)
    one = result(0, image, labelled=True)
    (drawn,) = save(tmp_path / "drawn.mp4", [one], strength=0.8)[0]
    np.testing.assert_allclose(
        drawn[8:40, 44:56].reshape(-1, 3).mean(axis=0), one.overlay(0.8)[20, 50].astype(float), atol=12
    )
    (nobody,) = save(tmp_path / "nobody.mp4", [one], classes=[])[0]
    assert nobody[8:40, 44:56].mean() < 8


@pytest.mark.parametrize("width, height", [(63, 47), (64, 47), (63, 48), (1, 1), (3, 500)])
def test_odd_sides_get_a_copy_of_the_last_line(tmp_path: Path, width: int, height: int) -> None:
    images, _ = save(tmp_path / "out.mp4", [result(30, np.full((height, width, 3), 200, np.uint8))] * 2, crf=1)
    assert [image.shape for image in images] == [(height + height % 2, width + width % 2, 3)] * 2
    assert images[0].min() > 190


def test_another_size_in_the_middle_is_resized_and_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sizes = [(64, 48), (64, 48), (32, 80), (128, 96), (64, 48)]
    images, _ = save(tmp_path / "out.mp4", [result(k, numbered(k, *size)) for k, size in enumerate(sizes)])
    assert [image.shape for image in images] == [(48, 64, 3)] * 5
    assert [number_of(image) for image in images] == list(range(5))
    err = capfd.readouterr().err
    assert err.startswith("warning: out.mp4: a frame of 32x80 among those of 64x48")
    assert err.count("\n") == 1


def test_no_frame_no_file(tmp_path: Path) -> None:
    sink = Video(tmp_path / "out.mp4")
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_an_older_video_is_replaced_only_by_a_whole_new_one(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    sink = Video(path)
    sink.write(result(0))
    assert path.read_bytes() == b"older"
    sink.close()
    sink.close()
    assert len(read_back(path)[0]) == 1
    with pytest.raises(OutputError, match="closed"):
        sink.write(result(1))


KILLED = """
import os, sys, numpy as np
from edgeseg.runtime.sinks import Video
from edgeseg.types import ClassInfo, Frame, Result
sink = Video(sys.argv[1], fps=30.0)
image = np.zeros((48, 64, 3), np.uint8)
for number in range(150):
    frame = Frame(image, number, 0, number / 30)
    sink.write(Result(image[..., 0], None, None, frame, (ClassInfo(0, "background", (0, 0, 0)),)))
os._exit(9)
"""


@pytest.mark.skipif(av.library_versions["libavformat"] < HYBRID_SINCE, reason="this FFmpeg cannot write such files")
def test_after_a_kill_the_part_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
    assert not path.exists()
    assert len(read_back(tmp_path / "out.mp4.part")[0]) >= 100


@pytest.mark.parametrize("name", ["missing/out.mp4", "folder.mp4", "file/out.mp4", "pipe.mp4", "/proc/out.mp4"])
def test_an_output_that_cannot_be_written_fails_at_once(tmp_path: Path, name: str) -> None:
    import os

    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(OutputError, match="cannot write the video") as caught:
        Video(tmp_path / name)
    assert caught.value.exit_code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4", "pipe.mp4"]


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "null.mp4").symlink_to("/dev/null")
    with pytest.raises(OutputError, match="no regular file"):
        Video(tmp_path / "null.mp4")


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out\.gif.*\.mp4"):
        Video(tmp_path / "out.gif")


def test_without_an_encoder_the_names_looked_for_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.runtime.sinks import video

    monkeypatch.setattr(video, "ENCODERS", ("no-such-encoder", "libnothing"))
    with pytest.raises(OutputError, match="no-such-encoder, libnothing"):
        Video(tmp_path / "out.mp4")


def test_a_disk_that_fills_up_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /dev/full takes nothing: the sink's own file of a full disk.
    sink = Video(tmp_path / "out.mp4")
    (tmp_path / "out.mp4.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        for number in range(50):
            sink.write(result(number))
        sink.close()
    before = time.monotonic()
    sink.close()
    assert time.monotonic() - before < 10
    assert not (tmp_path / "out.mp4").exists()
