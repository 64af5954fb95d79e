"""Label maps as a lossless video: FFV1 in Matroska, gray, the class id as value, at the source's own times."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import OutputError, UsageError
from edgeseg.packages import missing_package
from edgeseg.runtime import notices
from edgeseg.runtime.sinks.base import cannot_write, check_file
from edgeseg.runtime.sinks.timeline import Timeline
from edgeseg.types import LabelMap, Result

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

WHAT = "the masks"
SUFFIX = ".mkv"
# What others may mean by a video; each of them would lose or recolour labels, or hold no FFV1.
OTHERS = (".mp4", ".m4v", ".mov", ".avi", ".webm")
TICKS = 1000  # a second; Matroska counts no finer
DEFAULT_FPS = 30.0
# What is encoded is on the disk within a second, so that a run that is killed leaves a file that plays.
MUXING = {"flush_packets": "1", "cluster_time_limit": "1000"}
FULL_RANGE = 2  # AVCOL_RANGE_JPEG: nobody who converts the gray to RGB stretches it


def is_mask_video(target: Path) -> bool:
    """Whether `--masks TARGET` names a video; a folder that is there stays one. UsageError for a lossy kind."""
    suffix = target.suffix.lower()
    if target.is_dir() or suffix not in (SUFFIX, *OTHERS):
        return False
    if suffix != SUFFIX:
        todo = f"Name a {SUFFIX} file, which keeps each value (FFV1), or a folder for PNG files"
        raise UsageError("label maps are not kept in this kind of video", target, todo)
    return True


class MaskVideo:
    """Writes OUT.mkv: 8-bit gray pictures (FFV1) that decode to the label maps bit for bit.

    Times are those of `Timeline`, in milliseconds. A map cannot be resized without loss: where the frames change their
    size, OUT.001.mkv and so on go on, on the same clock, with a warning.

    A file is written as NAME.part and gets its name at its end. Without a single frame there is none.

    Args:
        path: the file, .mkv.
        fps: the source's rate, for frames without timestamps; 30 when None.
        live: whether moments of capture are the times of frames that have no timestamps.

    Raises:
        OutputError: the file cannot be written; also from `write` and `close`.
        BackendError: PyAV is not installed.
    """

    def __init__(self, path: str | Path, fps: float | None = None, live: bool = False) -> None:
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise missing_package(error) or error from None
        self._path = Path(path)
        check_file(self._path, WHAT)
        self._fps = fps if fps and fps > 0 else DEFAULT_FPS
        self._timeline = Timeline(TICKS, self._fps, live)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._files = 0
        self._size = (0, 0)
        self._closed = self._failed = False

    def write(self, result: Result) -> None:
        """Encode one label map."""
        if self._closed or self._failed:
            raise OutputError(f"cannot write {WHAT}", f"{self._path} is closed", "Open the sink anew")
        import av

        label_map = np.ascontiguousarray(result.label_map)
        try:
            if label_map.shape != self._size:
                self._end_file()
                self._begin_file(label_map)
            self._encode(label_map, self._timeline.tick(result.frame))
        except (OSError, ValueError, av.FFmpegError) as error:
            self._failed = True
            raise cannot_write(WHAT, self._file, error) from None

    def close(self) -> None:
        """End the file and give it its name. Any number of times."""
        import av

        if self._closed:
            return
        self._closed = True
        try:
            self._end_file()
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(WHAT, self._file, error) from None

    @property
    def _file(self) -> Path:
        """The one that is being written."""
        number = self._files - 1
        return self._path if number < 1 else self._path.with_name(f"{self._path.stem}.{number:03d}{SUFFIX}")

    @property
    def _aside(self) -> Path:
        return self._file.with_name(f"{self._file.name}.part")

    def _begin_file(self, label_map: LabelMap) -> None:
        import av

        height, width = label_map.shape
        before, self._size = self._size, (height, width)
        self._files += 1
        if self._files > 1:
            seen = f"{self._path.name}: frames of {width}x{height} after {before[1]}x{before[0]}"
            notices.warn(f"{seen}; their masks are in {self._file.name}")
        self._container = av.open(f"file:{self._aside}", "w", format="matroska", options=MUXING)
        # Slices are encoded by several threads and carry a checksum each; a single row or column cannot be sliced.
        options = {"level": "3", "slices": "4", "slicecrc": "1"} if min(height, width) > 1 else {"level": "1"}
        rate = Fraction(self._fps).limit_denominator(1001)
        self._stream = self._container.add_stream("ffv1", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "gray"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.color_range = FULL_RANGE
        self._stream.codec_context.thread_type = "SLICE"

    def _encode(self, label_map: LabelMap, tick: int) -> None:
        import av

        assert self._container is not None
        assert self._stream is not None
        picture = av.VideoFrame.from_ndarray(label_map, format="gray")
        picture.pts, picture.time_base = tick, Fraction(1, TICKS)
        picture.color_range = FULL_RANGE
        # The muxer guesses the last one's otherwise.
        picture.duration = round(TICKS / self._fps)
        self._container.mux(self._stream.encode(picture))

    def _end_file(self) -> None:
        import av

        container, self._container = self._container, None
        if container is None or self._stream is None:
            return
        try:
            # Muxing again after a failure ends the process in some versions of PyAV.
            if not self._failed:
                container.mux(self._stream.encode())
        finally:
            # A second complaint about what failed before is no news.
            with contextlib.suppress(*((OSError, av.FFmpegError) if self._failed else ())):
                container.close()
            if self._aside.stat().st_size:  # what was written before a failure plays, too
                self._aside.replace(self._file)
            else:
                self._aside.unlink()
