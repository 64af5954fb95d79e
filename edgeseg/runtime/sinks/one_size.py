"""Pictures of one size for what cannot change it in the middle: a video, a pipe of raw frames, a virtual camera."""

from __future__ import annotations

import numpy as np

from edgeseg.runtime import notices
from edgeseg.types import Image


class OneSize:
    """Brings every picture to the size of the first.

    One of another size is resized, with one warning.

    Args:
        name: what takes the pictures, for that warning.
        even: sides of odd length get one more row or column, a copy of the last.

    Attributes:
        size: (width, height) of what comes out; (0, 0) before the first picture.
    """

    def __init__(self, name: str, even: bool = False) -> None:
        self.size = (0, 0)
        self._name, self._even, self._warned = name, even, False

    def __call__(self, image: Image) -> Image:
        """uint8 [H, W, 3] -> the same at `size`."""
        import cv2

        rows, columns = image.shape[:2]
        size = (columns + columns % 2, rows + rows % 2) if self._even else (columns, rows)
        if self.size == (0, 0):
            self.size = size
        width, height = self.size
        if size != self.size:
            self._warn(columns, rows)
            image = np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_AREA), np.uint8)
        elif (columns, rows) != size:
            border = (0, height - rows, 0, width - columns)
            image = np.asarray(cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE), np.uint8)
        return image

    def _warn(self, columns: int, rows: int) -> None:
        if not self._warned:
            self._warned = True
            width, height = self.size
            notices.warn(
                f"{self._name}: a frame of {columns}x{rows} among those of {width}x{height} "
                "is resized, and so are all others of another size"
            )
