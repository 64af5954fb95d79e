"""Makes real videos for tests of sources and sinks, with frames that tell their number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def numbered(number: int, width: int = 64, height: int = 48) -> Picture:
    """A gray picture whose brightness tells its number (0 to 45), with a blue top left quarter."""
    image = np.full((height, width, 3), 20 + 5 * number, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    return image


def number_of(image: Picture) -> int:
    """The number that `numbered` gave a picture, from its bottom right quarter."""
    height, width = image.shape[:2]
    return round((float(image[height // 2 + 4 :, width // 2 + 4 :].mean()) - 18.5) / 5)


def make_clip(
    path: Path,
    images: Iterable[Picture],
    fps: int = 10,
    times_s: Iterable[float] | None = None,
    movflags: str = "",
    crf: int = 10,
) -> Path:
    """Write an H.264 video, frame k at `times_s[k]`, or at k / fps."""
    options = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "ultrafast"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        times = iter(times_s) if times_s is not None else None
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            seconds = next(times) if times else number / fps
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def noise(count: int, width: int = 96, height: int = 64) -> list[Picture]:
    """Pictures that compress badly, so that a part of their file is a part of their frames."""
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(count)]


def cut(path: Path, target: Path, share: float) -> Path:
    """The front of a file."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def read_back(path: Path) -> tuple[list[Picture], list[float]]:
    """Every frame of a video as BGR, and its time in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="bgr24") for frame in frames], [float(frame.time or 0.0) for frame in frames]


def h264(width: int, height: int, frames: int = 40, pixels: str = "yuv420p") -> bytes:
    """A bare H.264 stream of noise at 25 frames a second, as a camera's encoder gives it."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, pixels
    codec.framerate, codec.time_base = Fraction(25), Fraction(1, 25)
    codec.options = {"tune": "zerolatency", "preset": "ultrafast"}
    out = b""
    for number in range(frames + 1):
        picture = None
        if number < frames:
            image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            picture = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixels)
            picture.pts = number
        out += b"".join(bytes(packet) for packet in codec.encode(picture))
    return out


def spoil(stream: bytes, lost: Iterable[int], patched: Iterable[int] = ()) -> bytes:
    """A bare H.264 stream with pictures (by place, from 0) damaged: as a whole, or from their middle on."""
    spoilt = bytearray(stream)
    # A slice of a key picture, and those of others.
    starts = [found.start() + 4 for found in re.finditer(b"\0\0\1[\x65\x41\x61\x01]", stream)]
    for place in lost:
        spoil_part(spoilt, starts[place], starts[place + 1] - 4)
    for place in patched:
        spoil_part(spoilt, (starts[place] + starts[place + 1]) // 2, starts[place + 1] - 4)
    return bytes(spoilt)


def spoil_part(content: bytearray, start: int, end: int) -> None:
    """Set bits, all of them: no H.264 has so many, and none of its marks is made of them."""
    content[start:end] = b"\xff" * (end - start)
