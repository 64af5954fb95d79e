"""Overlap-tile inference for models that answer for the middle of their input (Ronneberger et al. 2015, figure 2).

The frame keeps its own scale. It is cut into inputs that overlap, so that the answers lie side by side; what an input
needs beyond the frame's border is mirrored. A frame smaller than one answer is mirrored on all sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgeseg.manifest import Manifest
from edgeseg.types import Image


@dataclass(frozen=True, slots=True)
class Tiling:
    """Where the answers of a frame's tiles lie, in pixels of the frame.

    Attributes:
        frame_height: rows of the frame.
        frame_width: columns of the frame.
        places: (row, column) of each answer's first pixel.
    """

    frame_height: int
    frame_width: int
    places: tuple[tuple[int, int], ...]

    def map_of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The answers [tiles, h, w] as one map [frame_height, frame_width]; where two overlap, the later one counts."""
        whole = np.empty((self.frame_height, self.frame_width), values.dtype)
        for (row, column), part in zip(self.places, values, strict=True):
            window = whole[row : row + part.shape[0], column : column + part.shape[1]]
            window[:] = part[: window.shape[0], : window.shape[1]]
        return whole


class Tiler:
    """Cuts frames into the inputs of a model whose answer is smaller than its input. Holds no state."""

    def __init__(self, manifest: Manifest) -> None:
        self._input = (manifest.height, manifest.width)
        self._answer = (manifest.output_height, manifest.output_width)
        self._offset = manifest.offset

    def __call__(self, image: Image) -> tuple[npt.NDArray[np.uint8], Tiling]:
        """Cut one frame.

        Args:
            image: uint8 [H, W, 3] BGR, of any size.

        Returns:
            uint8 [tiles, height, width, 3] BGR, a new array, and where the answers belong.
        """
        import cv2

        rows, columns = (_starts(n, step) for n, step in zip(image.shape[:2], self._answer, strict=True))
        places = tuple(product(rows, columns))
        tiling = Tiling(image.shape[0], image.shape[1], places)
        (top, bottom), (left, right) = (
            (before, max(0, answer - length) + size - answer - before)
            for length, size, answer, before in zip(
                image.shape[:2], self._input, self._answer, self._offset, strict=True
            )
        )
        # A single row or column has nothing to mirror but itself.
        mode = cv2.BORDER_REFLECT_101 if min(image.shape[:2]) > 1 else cv2.BORDER_REPLICATE
        wide = cast(Image, cv2.copyMakeBorder(image, top, bottom, left, right, mode))
        height, width = self._input
        tiles = [wide[row : row + height, column : column + width] for row, column in places]
        return np.stack(tiles), tiling


def _starts(length: int, step: int) -> list[int]:
    """Where answers of `step` pixels begin, so that they cover `length`; the last one ends with it."""
    return [min(start, max(0, length - step)) for start in range(0, length, step)]
