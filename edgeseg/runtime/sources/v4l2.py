"""What this machine's cameras offer, asked of the kernel: formats, sizes and rates, by V4L2's ioctls.

Numbers and layouts are those of the kernel's `linux/videodev2.h`, which is the same on x86-64 and aarch64.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.runtime.sources.camera import found

Ioctl = Callable[[int, int, bytearray], object]

_READ, _WRITE = 2, 1
# Capabilities (V4L2_CAP_...) and buffer types (V4L2_BUF_TYPE_...): of one plane, of several.
CAPTURES = {0x0000_0001: 1, 0x0000_1000: 9}
DEVICE_CAPS = 0x8000_0000
DISCRETE = 1
MANY = 256  # no list of a driver is longer; one that never ends must not hang


@dataclass(frozen=True, slots=True)
class Request:
    """One ioctl: its number, and its structure in `struct`'s language, native sizes without padding."""

    nr: int
    layout: str
    direction: int = _READ | _WRITE

    @property
    def number(self) -> int:
        """As `_IOWR('V', nr, structure)` has it."""
        return self.direction << 30 | struct.calcsize(self.layout) << 16 | ord("V") << 8 | self.nr


QUERYCAP = Request(0, "=16s32s32s3I12x", _READ)  # driver, card, bus_info, version, capabilities, device_caps
ENUM_FMT = Request(2, "=3I32sI16x")  # index, type, flags, description, pixelformat
ENUM_FRAMESIZES = Request(74, "=9I8x")  # index, pixel_format, type; width, height or min, max, step of both
ENUM_FRAMEINTERVALS = Request(75, "=11I8x")  # index, pixel_format, width, height, type; seconds as fractions


@dataclass(frozen=True, slots=True)
class Mode:
    """One size of one format.

    Attributes:
        pixels: the kernel's four letters ("MJPG", "YUYV", "RG10").
        width, height: pixels; of a camera that takes any size, the largest; 0 where the driver names none.
        fps: frames a second, as many as it names; of one that takes any rate, the highest.
    """

    pixels: str
    width: int = 0
    height: int = 0
    fps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Camera:
    """One device file.

    Attributes:
        device: "/dev/video0".
        name, driver: as the driver calls itself.
        modes: empty where it captures nothing (many cameras have a second file for metadata).
        problem: why it could not be asked; empty otherwise.
    """

    device: str
    name: str = ""
    driver: str = ""
    modes: tuple[Mode, ...] = ()
    problem: str = ""

    @property
    def raw(self) -> bool:
        """True for a bare sensor: it gives what its colour filter lets through, which an image processor must read."""
        return bool(self.modes) and all(_BAYER.fullmatch(mode.pixels) for mode in self.modes)


def cameras() -> list[Camera]:
    """Every video device of this machine, by number."""
    return [examine(device) for device in found()]


def examine(device: str) -> Camera:
    """Ask one device; a camera that somebody uses may be asked, too."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        label = Path("/sys/class/video4linux", Path(device).name, "name")
        name = label.read_text().strip() if label.is_file() else ""
        todo = "; add your user to the group video" if error.errno == errno.EACCES else ""
        return Camera(device, name, problem=f"{error.strerror}{todo}")
    try:
        return ask(device, descriptor)
    except OSError as error:
        return Camera(device, problem=error.strerror or str(error))
    finally:
        os.close(descriptor)


def ask(device: str, descriptor: int, ioctl: Ioctl = fcntl.ioctl) -> Camera:
    """What an open device says of itself; OSError where it is no video device.

    Args:
        device: its name, for the answer.
        descriptor: its file descriptor.
        ioctl: the kernel's, unless a test stands in for it.
    """
    driver, card, _, _, capabilities, own = call(QUERYCAP, descriptor, ioctl)
    # What this file does, where the driver tells it from what the whole device does.
    able = own if capabilities & DEVICE_CAPS else capabilities
    kind = next((kind for bit, kind in CAPTURES.items() if able & bit), None)
    modes = tuple(_modes(descriptor, kind, ioctl)) if kind else ()
    return Camera(device, _text(card), _text(driver), modes)


def _modes(descriptor: int, kind: int, ioctl: Ioctl) -> Iterator[Mode]:
    for _, _, _, _, code in _all(ENUM_FMT, descriptor, ioctl, kind):
        sized = False
        for _, _, how, *sides in _all(ENUM_FRAMESIZES, descriptor, ioctl, code):
            # min width, max width, step, min height, max height, step: unless it names each size
            width, height = (sides[0], sides[1]) if how == DISCRETE else (sides[1], sides[4])
            yield Mode(_letters(code), width, height, _rates(descriptor, ioctl, code, width, height))
            sized = True
        if not sized:
            yield Mode(_letters(code))


def _rates(descriptor: int, ioctl: Ioctl, code: int, width: int, height: int) -> tuple[float, ...]:
    rates: list[float] = []
    for _, _, _, _, how, above, below, *_ in _all(ENUM_FRAMEINTERVALS, descriptor, ioctl, code, width, height):
        if above:
            rates.append(round(below / above, 2))
        if how != DISCRETE:  # the shortest interval is the highest rate
            break
    return tuple(rates)


def _all(request: Request, descriptor: int, ioctl: Ioctl, *known: int) -> Iterator[tuple[Any, ...]]:
    """Each answer of a list, by counting its index until the driver says that there is none; `known` follow it."""
    for index in range(MANY):
        try:
            answer = call(request, descriptor, ioctl, index, *known)
        except OSError as error:
            # ENOTTY: a driver that has no such list.
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise
        yield answer
        if request is ENUM_FRAMESIZES and answer[2] != DISCRETE:
            return  # one answer for all sizes


def call(request: Request, descriptor: int, ioctl: Ioctl, *words: int) -> tuple[Any, ...]:
    """Ask an open device: `words` are the first of the request's structure, and all of it is the answer."""
    data = bytearray(struct.calcsize(request.layout))
    struct.pack_into(f"={len(words)}I", data, 0, *words)
    ioctl(descriptor, request.number, data)
    return struct.unpack(request.layout, data)


def _letters(code: int) -> str:
    return struct.pack("<I", code & 0x7FFF_FFFF).decode("ascii", "replace").strip("\0 ")


def _text(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("utf-8", "replace").strip()


_BAYER = re.compile(r"(BA|BG|GB|GR|RG)(10|12|14|16|81)|GBRG|GRBG|RGGB|BYR2|p[BGgR](AA|CC|EE)")
