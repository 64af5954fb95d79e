"""Cameras on the network: RTSP, and whatever else FFmpeg reads from an address, decoded as it comes by PyAV."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from edgeseg.errors import InputError, UsageError, nearest
from edgeseg.packages import missing_package
from edgeseg.runtime.sources.arrival import ArrivalClock
from edgeseg.runtime.sources.decoding import (
    AUTO,
    SOFTWARE,
    check_decoder,
    check_device,
    decoded_by,
    jetson_decodes,
    open_container,
)
from edgeseg.runtime.sources.gstreamer import PipelineConnection
from edgeseg.runtime.sources.gstreamer_text import stream_pipeline
from edgeseg.runtime.sources.raw import RawFormat
from edgeseg.runtime.sources.resilient import Health, Patience, Resilient, Shot

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "udp", "tcp")
TRANSPORTS = ("tcp", "udp")
ADDRESS = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a network camera is read.

    Attributes:
        transport: of RTSP: "tcp" (nothing is lost on the way) or "udp" (nothing is waited for).
        patience: times to wait.
        decode: "auto" decodes streams in hardware where there is any, and files in software; "hardware" or "software"
            both alike.
        raw: what frames on standard input are.

    Raises:
        UsageError: an unknown transport or decoder.
    """

    transport: str = "tcp"
    patience: Patience = Patience()
    decode: str = AUTO
    raw: RawFormat | None = None

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise UsageError("unknown transport", self.transport, nearest(self.transport, TRANSPORTS))
        check_decoder(self.decode)


def network_camera(address: str, max_frames: int | None = None, options: StreamOptions | None = None) -> Resilient:
    """A live source that connects again when it is lost.

    Args:
        address: `rtsp://user:password@host:554/path` for one.
        max_frames: end after so many frames.
        options: how it is read.

    Raises:
        InputError: it is no address, or no picture came within the time to open.
        BackendError: PyAV is not installed, or there is no hardware decoder and no other was allowed.
    """
    options, health, name = options or StreamOptions(), Health(), without_password(address)
    decoded = decoded_by(name, health)
    if options.decode != SOFTWARE and address.lower().startswith("rtsp") and jetson_decodes():
        pipeline = stream_pipeline(address, options.transport)
        return Resilient(
            name, lambda: PipelineConnection(pipeline, options.patience, decoded), options.patience, max_frames, health
        )
    _av()
    check_device(options.decode)
    return Resilient(
        name, lambda: NetworkConnection(address, options, health, decoded), options.patience, max_frames, health
    )


def without_password(address: str) -> str:
    """The address as it may be shown: what stands before the @ is left out; InputError where it is no address."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        # What cannot be taken apart may hold a password anywhere.
        scheme = address.partition("://")[0]
        todo = "Write rtsp://user:password@host:554/path, for example"
        raise InputError("not an address", f"{scheme}://... ({error})", todo) from None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class NetworkConnection:
    """See `Connection`. A damaged packet is left out and counted, a picture that the decoder could patch is counted.

    Pictures may change their size at any time.

    `captured_ns` follows the stream's own timestamps, see `arrival`; without them it is when a packet has arrived,
    before it is decoded.
    """

    def __init__(self, address: str, options: StreamOptions, health: Health, decoded: Callable[[str], object]) -> None:
        av = _av()
        from av.video.reformatter import VideoReformatter

        self._av, self._health, self._decoded = av, health, decoded
        self._reformatter = VideoReformatter()
        patience = options.patience
        # The second is for each read: a stream that stalls for longer is lost in any case.
        limits = (patience.open_timeout_s, patience.stall_timeout_s)
        try:
            self._container, self._decoder = open_container(
                address, options.decode, options=_ffmpeg_options(address, options), timeout=limits
            )
        except (OSError, ValueError, av.FFmpegError) as error:
            # PyAV puts the address, with its password, into the error's text.
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise InputError("cannot connect", reason, "Check the address") from None
        try:
            streams = self._container.streams.video
            if not streams or streams[0].codec_context is None:
                raise InputError("the stream has no pictures", without_password(address), "Give another one")
            self._stream = streams[0]
            # Threads that decode several pictures at once hold each of them back. A GPU needs none.
            if self._decoder.device is None:
                self._stream.thread_type = "SLICE"
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.fps = float(rate) if rate and 0 < rate < 1000 else None
        except BaseException:
            self._container.close()
            raise
        self._clock, self._told = ArrivalClock(), False
        self._shots = self._decode()

    def read(self) -> Shot | None:
        """See `Connection.read`."""
        return next(self._shots, None)

    def close(self) -> None:
        """See `Connection.close`."""
        self._container.close()

    def _decode(self) -> Iterator[Shot]:
        for packet in self._container.demux(self._stream):
            arrived_ns = time.monotonic_ns()
            if not packet.size:
                continue
            if packet.is_corrupt:
                self._health.corrupt += 1
                continue
            try:
                frames = self._stream.decode(packet)
            except self._av.FFmpegError:
                self._health.corrupt += 1
                continue
            for frame in frames:
                self._tell(frame)
                self._health.patched += frame.is_corrupt
                taken_ns = self._clock.stamp(arrived_ns, frame.time)
                yield Shot(self._picture(frame), taken_ns, frame.time)

    def _tell(self, frame: VideoFrame) -> None:
        if not self._told:
            self._told = True
            self._decoded(self._decoder.of(self._stream.codec_context, frame))

    def _picture(self, frame: VideoFrame) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.ascontiguousarray(self._reformatter.reformat(frame, format="bgr24").to_ndarray(), np.uint8)


def _ffmpeg_options(address: str, options: StreamOptions) -> dict[str, str]:
    """No buffer against jitter, and no long look at the stream before it is read.

    What FFmpeg reads to learn of a stream comes out in one go afterwards, late, with nothing to tell how late. RTSP
    says beforehand what will come; of others FFmpeg must see a little. Times are in microseconds.

    RTP over UDP keeps a short queue. FFmpeg gives on a packet that is the next one at once, so a stream in order waits
    for nothing; only behind a gap packets wait, for 100 ms at most. Without the queue a packet that overtakes another
    makes both count as a loss, and with them every picture until the next key picture.
    """
    ordered = options.transport == "tcp"
    return {
        "rtsp_transport": options.transport,
        "reorder_queue_size": "0" if ordered else "64",
        "max_delay": "0" if ordered else "100000",
        "flags": "low_delay",
        "fpsprobesize": "0",
        "analyzeduration": "1" if address.lower().startswith("rtsp") else "500000",
    }


def _av() -> Any:
    try:
        # cv2 first, see `video.open_video`.
        import cv2  # noqa: F401, I001
        import av
    except ImportError as error:
        raise missing_package(error) or error from None
    return av
