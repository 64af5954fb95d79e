"""Video files as a source: PyAV decodes every frame, in order, the right way up."""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import InputError
from edgeseg.packages import missing_package
from edgeseg.runtime import notices
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.runtime.sources.decoding import HARDWARE, SOFTWARE, Decoder, open_container
from edgeseg.runtime.sources.resilient import Health
from edgeseg.types import Frame, Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg takes any text file for terminal art, and a playlist would open other files.
NO_VIDEO_FORMATS = frozenset({"tty", "hls", "dash", "concat", "imf"})
# A video counts as cut off when this much is missing from what it states; containers round their durations.
MISSING_S = 0.1
MISSING_FRAMES = 2.5
ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
Turn = Callable[[Image], Image]


class VideoFile(FrameSource):
    """A video file, every frame in order; `pts_s` is the file's own timestamp.

    Rotation and mirroring that the file asks for (its display matrix) are carried out. Damaged packets are left out,
    pictures that the decoder could patch come out; both are counted (`health`), with a warning at the end. A file that
    ends early gives what it has, and `broken` says where it broke off.

    Args:
        path: the file.
        name: the source as the user named it; the path unless given.
        max_frames: end after so many frames.
        hardware: decode on the GPU.

    Raises:
        InputError: the file is missing, is no video, has no picture track, or not one frame of it can be decoded.
        BackendError: PyAV is not installed, or no GPU here decodes it and `hardware` asks for one.
    """

    def __init__(
        self, path: str | Path, name: str | None = None, max_frames: int | None = None, hardware: bool = False
    ) -> None:
        super().__init__(name or str(path), max_frames)
        self._container, self._stream, decoder = open_video(path, HARDWARE if hardware else SOFTWARE)
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.health = Health()
        self._reached_s = 0.0
        self._frames = self._decode()
        # Decoded now, so that a file without a single frame fails before a model is loaded.
        self._ahead = next(self._frames, None)
        if self._ahead is None:
            self.close()
            todo = "It is damaged or of an unknown codec; try it in a video player"
            raise InputError("no frame of the video can be decoded", f"{path} ({self._codec()})", todo)
        if hardware:
            self._say(decoder, self._ahead)
        self._turn = turn_of(self._ahead)

    def _say(self, decoder: Decoder, first: VideoFrame) -> None:
        try:
            notices.info(f"{self.name} is decoded {decoder.of(self._stream.codec_context, first)}")
        except BaseException:
            self.close()
            raise

    def _codec(self) -> str:
        context = self._stream.codec_context
        return context.name if context is not None else "unknown codec"

    def _read(self) -> Frame | None:
        decoded, self._ahead = self._ahead or next(self._frames, None), None
        if decoded is None:
            return None
        image = np.ascontiguousarray(self._reformatter.reformat(decoded, format="bgr24").to_ndarray(), np.uint8)
        return Frame(
            self._turn(image), self._count, time.monotonic_ns(), pts_s=self._seconds(decoded), source=self.name
        )

    def _seconds(self, decoded: VideoFrame) -> float | None:
        base = decoded.time_base or self._stream.time_base
        return None if decoded.pts is None or base is None else float(decoded.pts * base)

    def _end_s(self, packet: Packet[Any]) -> float:
        """Where the picture in a packet ends; 0 where the file does not say."""
        base = packet.time_base or self._stream.time_base
        return 0.0 if packet.pts is None or base is None else float((packet.pts + (packet.duration or 0)) * base)

    def _decode(self) -> Iterator[VideoFrame]:
        import av

        packets = self._container.demux(self._stream)
        cut: str | None = None
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                cut = f"the file cannot be read on ({error.strerror})"
                packet = None
            if packet is None:
                break
            if not packet.size:
                continue
            cut = None
            if packet.is_corrupt:
                # A packet that lacks bytes also makes threaded decoders lose the good frames in front of it.
                cut = "the file ends in the middle of a frame"
                self.health.corrupt += 1
                continue
            self._reached_s = max(self._reached_s, self._end_s(packet))
            yield from self._decode_one(packet)
        yield from self._decode_one(None)
        self._judge(cut)

    def _decode_one(self, packet: Packet[Any] | None) -> Iterator[VideoFrame]:
        import av

        try:
            frames = self._stream.decode(packet)
        except EOFError:
            return
        except av.FFmpegError:
            self.health.corrupt += 1
            return
        for frame in frames:
            self.health.patched += frame.is_corrupt
            yield frame

    def _judge(self, cut: str | None) -> None:
        """At the end of the file: was that all of it, and was it sound?"""
        stated_s = _stated_end_s(self._container, self._stream)
        if stated_s is not None and stated_s - self._reached_s > max(MISSING_S, MISSING_FRAMES / (self.fps or 25.0)):
            cut = f"the file ends early, at {self._reached_s:.2f} s of {stated_s:.2f} s"
        if cut is not None:
            self.broken = cut
        else:
            self._warn_of_damage()

    def _warn_of_damage(self) -> None:
        corrupt, patched = self.health.corrupt, self.health.patched
        told = []
        if corrupt:
            told.append(f"{corrupt} damaged packet{'s' if corrupt > 1 else ''} could not be decoded and left gaps")
        if patched:
            told.append(f"{patched} picture{'s' if patched > 1 else ''} had to be patched")
        if told:
            notices.warn(f"{self.name} is damaged: {', '.join(told)}")

    def _release(self) -> None:
        self._container.close()


def open_video(path: str | Path, decode: str = SOFTWARE) -> tuple[InputContainer, VideoStream, Decoder]:
    """Open a file and find its picture track; InputError in one line where that fails. `decode`: see `decoding`."""
    try:
        # cv2 comes first: where PyAV's libraries are loaded before those of cv2, its first window hangs for ever
        # (seen with av 18.1 and opencv-python 5.0).
        import cv2  # noqa: F401, I001
        import av
    except ImportError as error:
        raise missing_package(error) or error from None
    container: InputContainer | None = None
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for its writer, in FFmpeg and so out of reach of signals.
            raise InputError("the source is no regular file", path, "Give a video file, a folder or a camera")
        if status.st_size == 0:
            raise InputError("the file is empty", path, "Copy or download it again")
        # Titles in another encoding are no reason to refuse a video. PyAV 19 takes no such word, and never refuses one.
        lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
        # `file:` keeps FFmpeg from reading a colon in a file name as a protocol.
        container, decoder = open_container(f"file:{os.fspath(path)}", decode, **lenient)
        if container.format.name in NO_VIDEO_FORMATS:
            raise InputError("the file is no video", path, _NO_VIDEO)
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams or streams[0].codec_context is None:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise InputError("the file has no pictures", f"{path} (it holds {kinds})", "Give a file with a video track")
        if decoder.device is None:
            streams[0].thread_type = "AUTO"
        return container, streams[0], decoder
    except (OSError, ValueError, av.FFmpegError) as error:
        if isinstance(error, (av.error.InvalidDataError, EOFError)):
            raise InputError("the file is no video, or its head or index is missing", path, _NO_VIDEO) from None
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("cannot open the video", f"{path} ({reason})", "Check the path and its permissions") from None
    except InputError:
        if container is not None:
            container.close()
        raise


def _is_cover(stream: VideoStream) -> bool:
    """True for the cover picture of a music file, which is a video track to FFmpeg."""
    flags = getattr(stream, "disposition", 0)
    # A plain number or an enum, of a kind that differs from one PyAV to the next.
    return bool(int(getattr(flags, "value", flags)) & ATTACHED_PICTURE)


def _stated_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Where the picture track should end, in seconds of its own clock, by what the file states."""
    if stream.duration is not None and stream.time_base is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    # Matroska states it in a tag of the track.
    hours, _, rest = str(stream.metadata.get("DURATION", "")).partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        pass
    # The whole file's duration may be that of a longer sound track.
    alone = len(container.streams) == 1 and container.duration is not None
    return ((container.start_time or 0) + (container.duration or 0)) / 1e6 if alone else None


def turn_of(frame: VideoFrame) -> Turn:
    """What brings a decoded picture upright, by the display matrix of its file (nothing, where there is none).

    The matrix maps a pixel (x, y) to (a x + c y, b x + d y), y downwards; as 16.16 numbers it is stored as
    a b u, c d v, x y w (ISO/IEC 14496-12, 8.3.2). Angles are rounded to the nearest quarter turn.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return lambda image: image
    import cv2

    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    swapped = abs(b) > abs(a)
    down, right = (b, c) if swapped else (d, a)
    axis = {(False, False): None, (True, False): 0, (False, True): 1, (True, True): -1}[down < 0, right < 0]

    def turn(image: Image) -> Image:
        turned = cv2.transpose(image) if swapped else image
        return np.asarray(turned if axis is None else cv2.flip(turned, axis), np.uint8)

    return turn


_NO_VIDEO = "Is the copy complete? Try it in a video player"
