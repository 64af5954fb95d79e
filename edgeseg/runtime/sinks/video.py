"""Results as an H.264 video: each frame with its labels drawn in, at the source's own times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeseg.errors import OutputError, UsageError
from edgeseg.packages import missing_package
from edgeseg.runtime.sinks.base import cannot_write, check_file
from edgeseg.runtime.sinks.one_size import OneSize
from edgeseg.runtime.sinks.timeline import Timeline
from edgeseg.types import Image, Result

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

WHAT = "the video"
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
# In the order of preference. Hardware encoders need a device, so none is taken unasked.
ENCODERS = ("libx264", "libopenh264")
TICKS = 90_000  # a second; holds every usual frame rate exactly
DEFAULT_FPS = 30.0
KEYFRAME_EVERY_S = 2.0
# From libavformat 61.7 (FFmpeg 7.1) on a file is written in fragments, which play after a kill, and joined at the end.
HYBRID_SINCE = (61, 7, 0)
# AVCOL_* numbers: limited range, the BT.601 matrix that cv2 converts with, BT.709 primaries and transfer.
COLORS = {"color_range": 1, "colorspace": 6, "color_primaries": 1, "color_trc": 1}


class Video:
    """Writes an H.264 video (yuv420p) of overlays; without sound.

    Frames stand at the source's timestamps, see `Timeline`. Sides of odd length get one more row or column, a copy of
    the last. A frame of another size than the first is resized to that, with one warning.

    The file is written as NAME.part and gets its name from `close`. Without a single frame there is no file.

    Args:
        path: the file: .mp4 (or .m4v, .mov, .mkv).
        fps: the source's rate, for frames without timestamps and as a hint to the encoder; 30 when None.
        live: whether moments of capture are the times of frames that have no timestamps.
        strength: opacity of the tint, 0 to 1.
        classes: names of the classes to draw; all when None.
        crf: quality, 0 (lossless) to 51.
        preset: x264's trade of time for size.
        draw: makes the picture of a result, in place of its overlay.

    Raises:
        OutputError: the file cannot be written, or no H.264 encoder is there; also from `write` and `close`.
        UsageError: another kind of file.
        BackendError: PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float | None = None,
        live: bool = False,
        strength: float = 0.45,
        classes: Collection[str] | None = None,
        crf: int = 23,
        preset: str = "veryfast",
        draw: Callable[[Result], Image] | None = None,
    ) -> None:
        self._path = Path(path)
        self._fps = fps if fps and fps > 0 else DEFAULT_FPS
        self._crf, self._preset = crf, preset
        self._draw = draw or (lambda result: result.overlay(strength, classes))
        self._format = FORMATS.get(self._path.suffix.lower())
        if self._format is None:
            raise UsageError("unknown kind of video file", self._path.name, f"Use one of {', '.join(FORMATS)}")
        check_file(self._path, WHAT)
        self._encoder = find_encoder()
        self._aside = self._path.with_name(f"{self._path.name}.part")
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._closed = self._failed = self._begun = False
        self._one_size = OneSize(self._path.name, even=True)
        self._timeline = Timeline(TICKS, self._fps, live)

    def write(self, result: Result) -> None:
        """Draw and encode one result."""
        if self._closed:
            raise OutputError(f"cannot write {WHAT}", f"{self._path} is closed", "Open the sink anew")
        image = self._one_size(self._draw(result))
        if self._container is None:
            self._open()
        self._encode(self._picture(image, self._timeline.tick(result.frame)))
        self._begun = True

    def close(self) -> None:
        """Finish the file and give it its name. Any number of times."""
        import av

        if self._closed:
            return
        self._closed = True
        if self._container is None:
            return
        try:
            try:
                self._encode(None)
            finally:
                # A second complaint about what failed before is no news.
                with contextlib.suppress(*((OSError, av.FFmpegError) if self._failed else ())):
                    self._container.close()
            # What was written before a failure is kept under its name: fragments play without an end.
            if not self._begun or (self._failed and self._aside.stat().st_size == 0):
                self._aside.unlink(missing_ok=True)
            else:
                self._aside.replace(self._path)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(WHAT, self._path, error) from None

    def _open(self) -> None:
        import av

        size, muxing = self._one_size.size, {}
        if self._format in ("mp4", "mov") and av.library_versions["libavformat"] >= HYBRID_SINCE:
            muxing = {"movflags": "hybrid_fragmented", "flush_packets": "1"}
        try:
            self._container = av.open(f"file:{self._aside}", "w", format=self._format, options=muxing)
            self._stream = add_stream(self._container, self._encoder, size, self._fps, self._crf, self._preset)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise cannot_write(WHAT, self._path, error) from None

    def _picture(self, image: Image, tick: int) -> VideoFrame:
        import av
        import cv2

        # cv2 converts several times faster than libswscale; the matrix it uses is written into the file.
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts, picture.time_base = tick, Fraction(1, TICKS)
        if hasattr(picture, "duration"):  # since PyAV 14; the muxer guesses the last frame's otherwise
            picture.duration = round(TICKS / self._fps)
        return picture

    def _encode(self, picture: VideoFrame | None) -> None:
        import av

        # Muxing again after a failure ends the process in some versions of PyAV.
        if self._container is None or self._stream is None or self._failed:
            return
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (OSError, av.FFmpegError) as error:
            self._failed = True
            raise cannot_write(WHAT, self._path, error) from None


def find_encoder() -> str:
    """The name of an H.264 encoder that this PyAV has; OutputError where there is none."""
    try:
        import av.codec
    except ImportError as error:
        raise missing_package(error) or error from None
    for name in ENCODERS:
        try:
            return av.codec.Codec(name, "w").name
        except ValueError:  # what PyAV's UnknownCodecError is
            continue
    todo = "Install PyAV's own wheel (pip install --force-reinstall av), which has libx264"
    raise OutputError("this PyAV has no H.264 encoder", f"looked for {', '.join(ENCODERS)}", todo)


def add_stream(
    container: OutputContainer, encoder: str, size: tuple[int, int], fps: float, crf: int, preset: str
) -> VideoStream:
    """A video track of `size` (width, height) with a clock of `TICKS` a second."""
    # No B-frames: pictures leave the encoder in their order, so a file that was cut off misses none in between.
    options = {"bf": "0", "g": str(max(1, round(KEYFRAME_EVERY_S * fps)))}
    if encoder == "libx264":
        options |= {"crf": str(crf), "preset": preset}
    rate = Fraction(fps).limit_denominator(1001)
    stream = cast("VideoStream", container.add_stream(encoder, rate=rate, options=options))
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    context: VideoCodecContext = stream.codec_context
    context.time_base = Fraction(1, TICKS)
    if encoder != "libx264":
        context.bit_rate = round(size[0] * size[1] * fps * 0.1)
    for name, value in COLORS.items():
        setattr(context, name, value)
    return stream
