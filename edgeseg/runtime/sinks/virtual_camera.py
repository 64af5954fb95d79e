"""Results as a camera of this machine: a v4l2loopback device, which other programs then open like a webcam.

Numbers and layouts are those of the kernel's `linux/videodev2.h`, on machines of 64 bits.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks.base import cannot_write
from edgeseg.runtime.sinks.one_size import OneSize
from edgeseg.runtime.sources.v4l2 import DEVICE_CAPS, QUERYCAP, Ioctl, Request, call
from edgeseg.types import Image, Result

WHAT = "the virtual camera"
CAN_OUTPUT = 0x0000_0002  # V4L2_CAP_VIDEO_OUTPUT
OUTPUT = 2  # V4L2_BUF_TYPE_VIDEO_OUTPUT
PLANAR = int.from_bytes(b"YU12", "little")  # V4L2_PIX_FMT_YUV420: what cv2 calls I420
PROGRESSIVE = 1  # V4L2_FIELD_NONE
BT601 = 1  # V4L2_COLORSPACE_SMPTE170M, whose matrix cv2 converts with
# A v4l2_format of a single plane: type, 4 bytes that align, then width, height, pixelformat, field, bytesperline,
# sizeimage, colorspace, priv, flags, ycbcr_enc, quantization, xfer_func.
S_FMT = Request(5, "=14I152x")
ADVICE = (
    "Make one with v4l2loopback (apt-get install v4l2loopback-dkms, then "
    "modprobe v4l2loopback exclusive_caps=1 card_label=edgeseg) and name it, /dev/video10 for example"
)


class VirtualCamera:
    """Writes each result's picture into a video output device, as planar 4:2:0 (YU12).

    The first picture decides the size; sides of odd length get one more row or column, and a picture of another size
    is resized, with one warning.

    Args:
        device: its file.
        draw: makes the picture of a result; its overlay unless given.
        ioctl: the kernel's, unless a test stands in for it.

    Raises:
        OutputError: there is no such device, it takes no pictures, or not of this kind; also from `write`.
    """

    def __init__(
        self, device: str | Path, draw: Callable[[Result], Image] | None = None, ioctl: Ioctl = fcntl.ioctl
    ) -> None:
        self._device, self._ioctl = str(device), ioctl
        self._draw = draw or (lambda result: result.overlay())
        self._one_size = OneSize(self._device, even=True)
        try:
            self._file: int | None = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            todo = "Add your user to the group video" if error.errno == errno.EACCES else ADVICE
            raise OutputError(f"cannot open {WHAT}", f"{self._device} ({error.strerror})", todo) from None
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def write(self, result: Result) -> None:
        """Show one picture to whoever has opened the camera."""
        import cv2

        if self._file is None:
            raise OutputError(f"cannot write {WHAT}", f"{self._device} is closed", "Open the sink anew")
        begun = self._one_size.size != (0, 0)
        image = self._one_size(self._draw(result))
        if not begun:
            self._agree(self._file)
        picture = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        try:
            written = os.write(self._file, picture.data.cast("B"))
        except OSError as error:
            raise cannot_write(WHAT, self._device, error) from None
        if written != picture.size:
            seen = f"{self._device} took {written} bytes of {picture.size}"
            raise OutputError(f"cannot write {WHAT}", seen, "Is another program writing to it?")

    def close(self) -> None:
        """Leave the device. Any number of times."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _check(self) -> None:
        """OutputError unless the device takes pictures."""
        assert self._file is not None
        try:
            _, card, _, _, capabilities, own = call(QUERYCAP, self._file, self._ioctl)
        except OSError as error:
            seen = f"{self._device} is no video device ({error.strerror})"
            raise OutputError(f"cannot open {WHAT}", seen, ADVICE) from None
        if not (own if capabilities & DEVICE_CAPS else capabilities) & CAN_OUTPUT:
            name = card.partition(b"\0")[0].decode("utf-8", "replace")
            raise OutputError(f"cannot open {WHAT}", f"{self._device} ({name}) takes no pictures", ADVICE)

    def _agree(self, file: int) -> None:
        """Tell the device what will come."""
        width, height = self._one_size.size
        wanted = (width, height, PLANAR)
        try:
            answer = call(
                S_FMT, file, self._ioctl, OUTPUT, 0, *wanted, PROGRESSIVE, width, width * height * 3 // 2, BT601
            )
        except OSError as error:
            seen = f"{self._device}, {width}x{height} YU12 ({error.strerror})"
            todo = "Close the programs that hold it; they keep its format"
            raise OutputError(f"{WHAT} does not take these pictures", seen, todo) from None
        if answer[2:5] != wanted:
            letters = answer[4].to_bytes(4, "little").decode("ascii", "replace")
            seen = f"{self._device} wants {answer[2]}x{answer[3]} {letters}, not {width}x{height} YU12"
            todo = "Close the programs that hold it; they keep its format"
            raise OutputError(f"{WHAT} does not take these pictures", seen, todo)
