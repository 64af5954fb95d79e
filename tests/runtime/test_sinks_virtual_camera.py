"""A virtual camera.

There is no v4l2loopback here: a stand-in answers its ioctls, written from the kernel's documentation, and a pipe takes
the pictures. Number and layout of the new ioctl are checked against the kernel's own header, by a C compiler.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import VirtualCamera
from edgeseg.runtime.sinks import virtual_camera as sink_module
from edgeseg.runtime.sources import v4l2
from edgeseg.types import Frame, Result

HEADER = Path("/usr/include/linux/videodev2.h")
PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
#define AT(field) printf("%zu ", offsetof(struct v4l2_format, field))
int main(void) {
  printf("%lu\n", VIDIOC_S_FMT);
  AT(type); AT(fmt.pix.width); AT(fmt.pix.height); AT(fmt.pix.pixelformat); AT(fmt.pix.field);
  AT(fmt.pix.bytesperline); AT(fmt.pix.sizeimage); AT(fmt.pix.colorspace); printf("\n");
  printf("%u %d %u %d %d\n", V4L2_CAP_VIDEO_OUTPUT, V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_PIX_FMT_YUV420, V4L2_FIELD_NONE,
         V4L2_COLORSPACE_SMPTE170M);
  return 0;
}
"""


def test_numbers_and_layouts_are_the_kernel_s(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        pytest.skip("no C compiler, or no kernel headers (apt-get install gcc linux-libc-dev)")
    (tmp_path / "ask.c").write_text(PROGRAM)
    subprocess.run([compiler, "ask.c", "-o", "ask"], cwd=tmp_path, check=True)
    answer = subprocess.run([tmp_path / "ask"], capture_output=True, text=True, check=True).stdout.splitlines()
    (number,), offsets, constants = ([int(word) for word in line.split()] for line in answer)
    m = sink_module
    assert number == m.S_FMT.number
    assert offsets == [0, *range(8, 36, 4)]  # the second word of the layout is what aligns
    assert constants == [m.CAN_OUTPUT, m.OUTPUT, m.PLANAR, m.PROGRESSIVE, m.BT601]


class Loopback:
    """A stand-in for the kernel: v4l2loopback, which may be no output, be busy, or keep a format of its own."""

    def __init__(self, able: int = 0x8520_0002, fails: int = 0, keeps: tuple[int, int, int] | None = None) -> None:
        self.able, self.fails, self.keeps = able, fails, keeps
        self.formats: list[tuple[int, ...]] = []

    def __call__(self, descriptor: int, number: int, data: bytearray) -> int:
        if number == v4l2.QUERYCAP.number:
            words = (b"v4l2 loopback", b"edgeseg", b"platform:v4l2loopback-010", 0x60000, 0x8520_0003, self.able)
            data[:] = struct.pack(v4l2.QUERYCAP.layout, *words)
            return 0
        assert number == sink_module.S_FMT.number
        if self.fails:
            raise OSError(self.fails, os.strerror(self.fails))
        words = list(struct.unpack(sink_module.S_FMT.layout, data))
        self.formats.append(tuple(words))
        words[2:5] = self.keeps or words[2:5]
        data[:] = struct.pack(sink_module.S_FMT.layout, *words)
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video10"
    os.mkfifo(path)
    return path


def result(number: int, width: int, height: int) -> Result:
    """A result on a picture of two colours, nothing labelled."""
    image = np.full((height, width, 3), (200, 90, 40), np.uint8)
    image[: height // 2] = (20, 60, 230)
    return Result(np.zeros((height, width), np.uint8), None, None, Frame(image, number, 0), PERSON)


def test_pictures_arrive_as_what_was_agreed(device: Path) -> None:
    loopback = Loopback()
    camera = VirtualCamera(device, ioctl=loopback)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    for number, size in enumerate([(64, 48), (63, 47), (32, 24)]):
        camera.write(result(number, *size))
        data = os.read(reader, 100_000)
        assert len(data) == 64 * 48 * 3 // 2
        seen = cv2.cvtColor(np.frombuffer(data, np.uint8).reshape(72, 64), cv2.COLOR_YUV2BGR_I420)
        np.testing.assert_allclose(seen[4:20].reshape(-1, 3).mean(0), (20, 60, 230), atol=3)
        np.testing.assert_allclose(seen[28:44].reshape(-1, 3).mean(0), (200, 90, 40), atol=3)
    camera.close()
    camera.close()
    os.close(reader)
    # Agreed once: type, width, height, YU12, progressive, bytes of a row of luma and of a picture.
    (words,) = loopback.formats
    assert words[:8] == (2, 0, 64, 48, int.from_bytes(b"YU12", "little"), 1, 64, 64 * 48 * 3 // 2)
    with pytest.raises(OutputError, match="closed"):
        camera.write(result(3, 64, 48))


def test_sides_of_odd_length(device: Path) -> None:
    camera = VirtualCamera(device, ioctl=Loopback())
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    camera.write(result(0, 63, 47))
    assert len(os.read(reader, 100_000)) == 64 * 48 * 3 // 2
    camera.close()
    os.close(reader)


def test_where_there_is_no_such_device(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for name, told in (("video10", "No such file"), ("file", "is no video device")):
        # With the kernel's own ioctl.
        with pytest.raises(OutputError, match=told) as caught:
            VirtualCamera(tmp_path / name)
        assert "modprobe v4l2loopback" in caught.value.todo
        assert caught.value.exit_code == 3


def test_a_camera_that_films_takes_no_pictures(device: Path) -> None:
    with pytest.raises(OutputError, match=r"\(edgeseg\) takes no pictures"):
        VirtualCamera(device, ioctl=Loopback(able=0x0420_0001))


@pytest.mark.parametrize(
    "loopback, told",
    [
        (Loopback(fails=errno.EBUSY), "64x48 YU12 .Device or resource busy"),
        (Loopback(keeps=(640, 480, int.from_bytes(b"YUYV", "little"))), "wants 640x480 YUYV, not 64x48 YU12"),
    ],
)
def test_a_device_that_keeps_another_format(device: Path, loopback: Loopback, told: str) -> None:
    camera = VirtualCamera(device, ioctl=loopback)
    with pytest.raises(OutputError, match=told):
        camera.write(result(0, 64, 48))
    camera.close()
