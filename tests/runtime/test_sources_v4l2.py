"""What cameras offer, by V4L2's ioctls.

There is no camera here: what a driver answers is a stand-in's, written from the kernel's documentation. Numbers and
layouts of the ioctls are checked against the kernel's own header, by a C compiler.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgeseg.cli import doctor
from edgeseg.runtime.sources import v4l2
from edgeseg.runtime.sources.v4l2 import Mode

HEADER = Path("/usr/include/linux/videodev2.h")
PROGRAM = r"""
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
#define AT(type, field) printf("%zu ", offsetof(struct type, field))
int main(void) {
  printf("%lu %lu %lu %lu\n", VIDIOC_QUERYCAP, VIDIOC_ENUM_FMT, VIDIOC_ENUM_FRAMESIZES, VIDIOC_ENUM_FRAMEINTERVALS);
  AT(v4l2_capability, driver); AT(v4l2_capability, card); AT(v4l2_capability, bus_info); AT(v4l2_capability, version);
  AT(v4l2_capability, capabilities); AT(v4l2_capability, device_caps); printf("\n");
  AT(v4l2_fmtdesc, index); AT(v4l2_fmtdesc, type); AT(v4l2_fmtdesc, flags); AT(v4l2_fmtdesc, description);
  AT(v4l2_fmtdesc, pixelformat); printf("\n");
  AT(v4l2_frmsizeenum, index); AT(v4l2_frmsizeenum, pixel_format); AT(v4l2_frmsizeenum, type);
  AT(v4l2_frmsizeenum, discrete.width); AT(v4l2_frmsizeenum, stepwise.max_width);
  AT(v4l2_frmsizeenum, stepwise.step_width); AT(v4l2_frmsizeenum, stepwise.min_height);
  AT(v4l2_frmsizeenum, stepwise.max_height); AT(v4l2_frmsizeenum, stepwise.step_height); printf("\n");
  AT(v4l2_frmivalenum, index); AT(v4l2_frmivalenum, pixel_format); AT(v4l2_frmivalenum, width);
  AT(v4l2_frmivalenum, height); AT(v4l2_frmivalenum, type); AT(v4l2_frmivalenum, discrete.numerator);
  AT(v4l2_frmivalenum, discrete.denominator); printf("\n");
  printf("%u %u %u %u %d %d\n", V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE, V4L2_CAP_DEVICE_CAPS,
         V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
  return V4L2_FRMIVAL_TYPE_DISCRETE != V4L2_FRMSIZE_TYPE_DISCRETE;
}
"""
REQUESTS = (v4l2.QUERYCAP, v4l2.ENUM_FMT, v4l2.ENUM_FRAMESIZES, v4l2.ENUM_FRAMEINTERVALS)


def offsets(layout: str) -> list[int]:
    """Where each field of a layout begins."""
    singles = layout.lstrip("=").replace("12x", "").replace("16x", "").replace("8x", "")
    fields: list[str] = []
    count = ""
    for letter in singles:
        if letter.isdigit():
            count += letter
        else:
            fields += [f"{count}s"] if letter == "s" else ["I"] * int(count or 1)
            count = ""
    return [struct.calcsize("=" + "".join(fields[:place])) for place in range(len(fields))]


def test_numbers_and_layouts_are_the_kernel_s(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        pytest.skip("no C compiler, or no kernel headers (apt-get install gcc linux-libc-dev)")
    (tmp_path / "ask.c").write_text(PROGRAM)
    subprocess.run([compiler, "ask.c", "-o", "ask"], cwd=tmp_path, check=True)
    answer = subprocess.run([tmp_path / "ask"], capture_output=True, text=True, check=True).stdout.splitlines()
    numbers, *fields, constants = ([int(word) for word in line.split()] for line in answer)
    assert numbers == [request.number for request in REQUESTS]
    for request, expected in zip(REQUESTS, fields, strict=True):
        assert offsets(request.layout)[: len(expected)] == expected
    (plain, single), (planes, several) = v4l2.CAPTURES.items()
    assert constants == [plain, planes, v4l2.DEVICE_CAPS, v4l2.DISCRETE, single, several]


class Driver:
    """A stand-in for the kernel: a camera that answers as its lists say."""

    def __init__(self, formats: dict[str, Any], own: int = 1, capabilities: int = 0x8500_0001) -> None:
        self.formats, self.own, self.capabilities = formats, own, capabilities

    def __call__(self, descriptor: int, number: int, data: bytearray) -> int:
        request = next(request for request in REQUESTS if request.number == number)
        words = list(struct.unpack(request.layout, data))
        if request is v4l2.QUERYCAP:
            words = [b"uvcvideo", b"Toy Camera: Toy", b"usb-1", 0x60000, self.capabilities, self.own]
        elif request is v4l2.ENUM_FMT:
            assert words[1] == (1 if (self.own or self.capabilities) & 1 else 9)
            words[3:] = [b"a format", code_of(self._nth(list(self.formats), words[0]))]
        else:
            sizes = self.formats[next(name for name in self.formats if code_of(name) == words[1])]
            if request is v4l2.ENUM_FRAMESIZES:
                size = self._nth(list(sizes), words[0])
                words[2:] = [1, *size, 0, 0, 0, 0] if len(size) == 2 else [3, *size]
            else:
                rates = next(rates for size, rates in sizes.items() if words[2:4] in ([*size], [size[1], size[-2]]))
                words[4:] = self._nth(rates, words[0])
        struct.pack_into(request.layout, data, 0, *words)
        return 0

    def _nth(self, items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return items[index]


def code_of(name: str) -> int:
    return int(struct.unpack("<I", name.ljust(4).encode())[0])


def each(above: int, below: int) -> list[int]:
    """One interval of above / below seconds."""
    return [1, above, below, 0, 0, 0, 0]


def test_formats_sizes_and_rates() -> None:
    formats = {
        "MJPG": {(1280, 720): [each(1, 30), each(2, 15)], (640, 480): [each(1001, 30000)]},
        "Y16": {(640, 480): []},
    }
    camera = v4l2.ask("/dev/video3", 5, Driver(formats))
    assert (camera.device, camera.name, camera.driver) == ("/dev/video3", "Toy Camera: Toy", "uvcvideo")
    assert camera.modes == (
        Mode("MJPG", 1280, 720, (30.0, 7.5)),
        Mode("MJPG", 640, 480, (29.97,)),
        Mode("Y16", 640, 480),
    )
    assert not camera.raw
    told = doctor.describe_camera({**asdict(camera), "raw": camera.raw})
    assert "MJPG: 1280x720 at 30, 7.5 fps; 640x480 at 29.97 fps\n" in told
    assert told.startswith("  /dev/video3  Toy Camera: Toy (uvcvideo)\n") and told.endswith("Y16: 640x480")


def test_a_camera_of_any_size_and_rate_and_one_that_names_none() -> None:
    # From 32x24 to 3280x2464 by 2, from 1/60 s to 1 s.
    wide = {"RG10": {(32, 3280, 2, 24, 2464, 2): [[3, 1, 60, 1, 1, 0, 0]]}}
    camera = v4l2.ask("/dev/video0", 5, Driver(wide, own=0x1000))
    assert camera.modes == (Mode("RG10", 3280, 2464, (60.0,)),) and camera.raw
    told = doctor.describe_camera({**asdict(camera), "raw": True}, sensor=0)
    assert told.endswith("a bare sensor: on a Jetson csi://0 reads it")
    assert v4l2.ask("/dev/video0", 5, Driver({"BGR3": {}})) == v4l2.Camera(
        "/dev/video0", "Toy Camera: Toy", "uvcvideo", (Mode("BGR3"),)
    )


def test_a_file_that_captures_nothing() -> None:
    camera = v4l2.ask("/dev/video1", 5, Driver({"UVCH": {}}, own=0x0080_0000))
    assert camera.modes == ()
    assert doctor.describe_camera({**asdict(camera), "raw": camera.raw}).endswith("captures no pictures")
    # An old driver tells only what the whole device does.
    assert v4l2.ask("/dev/video1", 5, Driver({"GREY": {}}, own=0, capabilities=1)).modes == (Mode("GREY"),)


def test_files_that_are_no_camera() -> None:
    assert v4l2.examine("/dev/null").problem == os.strerror(errno.ENOTTY)
    absent = v4l2.examine("/dev/video97")
    assert absent.problem == os.strerror(errno.ENOENT)
    assert "cannot be asked: No such file" in doctor.describe_camera({**asdict(absent), "raw": absent.raw})
