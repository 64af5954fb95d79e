"""How pictures lie in memory before they are BGR: a table of layouts, named as FFmpeg names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.errors import UsageError, nearest
from edgeseg.packages import missing_package
from edgeseg.types import Image


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """One layout.

    Attributes:
        name: FFmpeg's (`pix_fmt`).
        conversion: OpenCV's constant without its `COLOR_`; empty where nothing is to be converted.
        channels: bytes side by side for a pixel.
        halves: (across, down) of pixels that share their colour; sizes are multiples of it.
        planes: True for a plane of brightness and half as many bytes of colour below it.
        gst: GStreamer's name (caps' `format`), where GStreamer may hand it over.
    """

    name: str
    conversion: str
    channels: int = 1
    halves: tuple[int, int] = (1, 1)
    planes: bool = False
    gst: str = ""

    def size_bytes(self, width: int, height: int) -> int:
        """Bytes of a picture without padding.

        Raises:
            UsageError: this layout has no such size.
        """
        across, down = self.halves
        if width % across or height % down:
            todo = f"Sides of {self.name} are multiples of {across} across and {down} down"
            raise UsageError("this pixel format has no such size", f"{width}x{height}", todo)
        return width * self._rows(height) * self.channels

    def to_bgr(self, data: Any, width: int, height: int, stride: int = 0, offset: int = 0) -> Image:
        """BGR, uint8 [height, width, 3], in the colours of BT.601 where the layout is YUV.

        Args:
            data: a buffer of at least offset + rows x stride bytes; BGR without padding is not copied where it can be
                written to.
            width, height: pixels.
            stride: bytes from one row to the next; no padding when 0.
            offset: where the first row begins.
        """
        cv2 = _cv2()
        # A row of an odd width ends with a whole pair, of which the second pixel is none.
        across = -(-width // self.halves[0]) * self.halves[0]
        shape = (self._rows(height), across, self.channels)
        strides = (stride or across * self.channels, self.channels, 1)
        # The last row may end where its pixels do.
        picture = np.ndarray(shape, np.uint8, data, offset, strides)
        if not self.conversion:
            # A frame can be drawn on.
            return np.require(picture, requirements=("C", "W"))
        if self.channels == 1:
            picture = picture[..., 0]
        converted = cv2.cvtColor(np.ascontiguousarray(picture), getattr(cv2, f"COLOR_{self.conversion}"))
        return np.ascontiguousarray(converted[:, :width], np.uint8)

    def _rows(self, height: int) -> int:
        return height * 3 // 2 if self.planes else height


FORMATS = {
    entry.name: entry
    for entry in (
        PixelFormat("bgr24", "", 3, gst="BGR"),
        PixelFormat("rgb24", "RGB2BGR", 3, gst="RGB"),
        PixelFormat("bgr0", "BGRA2BGR", 4, gst="BGRx"),
        PixelFormat("bgra", "BGRA2BGR", 4, gst="BGRA"),
        PixelFormat("rgb0", "RGBA2BGR", 4, gst="RGBx"),
        PixelFormat("rgba", "RGBA2BGR", 4, gst="RGBA"),
        PixelFormat("gray", "GRAY2BGR", gst="GRAY8"),
        PixelFormat("yuyv422", "YUV2BGR_YUY2", 2, halves=(2, 1), gst="YUY2"),
        PixelFormat("uyvy422", "YUV2BGR_UYVY", 2, halves=(2, 1), gst="UYVY"),
        PixelFormat("nv12", "YUV2BGR_NV12", halves=(2, 2), planes=True),
        PixelFormat("nv21", "YUV2BGR_NV21", halves=(2, 2), planes=True),
        PixelFormat("yuv420p", "YUV2BGR_I420", halves=(2, 2), planes=True),
    )
}
FROM_GST = {entry.gst: entry for entry in FORMATS.values() if entry.gst}


def pixel_format(name: str) -> PixelFormat:
    """The layout of that name; UsageError, naming the nearest, where there is none."""
    if name not in FORMATS:
        raise UsageError("unknown pixel format", name, nearest(name, FORMATS))
    return FORMATS[name]


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise missing_package(error) or error from None
    return cv2
