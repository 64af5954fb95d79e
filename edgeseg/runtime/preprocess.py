"""From a frame to the model's input: one resize on bytes. Colour order, mean and deviation are inside the model file.

Calibration and evaluation resize with the same `resize_image`; training averages before its random maps shrink a
picture, so that it too learns from pictures without aliasing.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InputError
from edgeseg.manifest import Manifest
from edgeseg.runtime.geometry import Geometry, fit_geometry
from edgeseg.runtime.reuse import ReusedArrays
from edgeseg.runtime.tiling import Tiler, Tiling
from edgeseg.types import Image

# Letterbox borders: near the mean of photographs, so that they are near zero after normalization.
BORDER = 127


class Preprocessor:
    """Makes the input `image` of one model from frames of any size. Threads may share it."""

    def __init__(self, manifest: Manifest) -> None:
        self._inputs, self._doubles = ReusedArrays(), ReusedArrays()
        self._fit, self._height, self._width = manifest.fit, manifest.height, manifest.width
        self._tiler = Tiler(manifest) if manifest.tiled else None

    def __call__(
        self, image: Image, out: npt.NDArray[np.uint8] | None = None
    ) -> tuple[npt.NDArray[np.uint8], Geometry | Tiling]:
        """Resize one frame, or cut it into tiles where the model wants that.

        Args:
            image: uint8 [H, W, 3] BGR, of any size.
            out: uint8 [1, height, width, 3], where the result goes; not for tiles.

        Returns:
            uint8 [1, height, width, 3] BGR (tiles: [n, height, width, 3]), `out` or an array that nobody else
            holds, and what undoes the resize or the cutting.
        """
        if self._tiler is not None:
            return self._tiler(image)
        geometry = fit_geometry(self._fit, image.shape[0], image.shape[1], self._height, self._width)
        target = self._inputs.take((1, self._height, self._width, 3)) if out is None else out
        if (geometry.height, geometry.width) == (self._height, self._width):
            resize_image(image, geometry.width, geometry.height, target[0], self._doubles)
        else:
            target[:] = BORDER
            geometry.area(target[0])[:] = resize_image(image, geometry.width, geometry.height, doubles=self._doubles)
        return target, geometry


def resize_image(
    image: Image, width: int, height: int, out: Image | None = None, doubles: ReusedArrays | None = None
) -> Image:
    """Resize a picture the way the runtime, calibration and evaluation all do.

    Args:
        image: uint8 [H, W, 3] or [H, W].
        width: columns of the result.
        height: rows of the result.
        out: of the result's shape, C-contiguous, where it goes.
        doubles: where the picture of twice that size is taken from that comes in between; only for [H, W, 3].

    Returns:
        uint8 [height, width, 3] or [height, width], C-contiguous: `out`, or else a new array, or the image itself where
        it has that size already.
    """
    import cv2

    if image.shape[:2] == (height, width):
        if out is None:
            return np.ascontiguousarray(image)
        out[:] = image
        return out
    # Bilinear alone looks at 2 x 2 pixels of the frame, whatever the ratio: at 1280x720 to 256x256 it skips most of
    # them. INTER_AREA looks at all, but is slow for any ratio that is no integer. Bilinear to twice the size and then
    # the mean of 2 x 2, for which OpenCV has fast code, samples 4 x 4 points, close to INTER_AREA.
    if image.shape[1] > 1.5 * width or image.shape[0] > 1.5 * height:
        double = None if doubles is None else doubles.take((2 * height, 2 * width, 3))
        image = cast(Image, cv2.resize(image, (2 * width, 2 * height), dst=double, interpolation=cv2.INTER_LINEAR))
        return cast(Image, cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA))
    return cast(Image, cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR))


def as_bgr(array: Any) -> Image:
    """Take what a caller has for a picture and make it a frame.

    Args:
        array: uint8 [H, W, 3] BGR, [H, W, 4] BGRA (alpha is dropped), [H, W] or [H, W, 1] gray; contiguous or not.

    Returns:
        uint8 [H, W, 3] BGR, C-contiguous; the array itself where it is that already.

    Raises:
        InputError: no array, another data type than uint8, empty, or of another shape.
    """
    if not isinstance(array, np.ndarray):
        raise InputError("a frame must be a numpy array", type(array).__name__, "Give uint8 [H, W, 3], BGR")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        seen = f"shape {list(array.shape)}, dtype {array.dtype}"
        raise InputError("a frame must be uint8 [H, W, 3], [H, W, 4] or [H, W] and not empty", seen, _advice(array))
    if channels == 3:
        return np.ascontiguousarray(array)
    import cv2

    code = cv2.COLOR_BGRA2BGR if channels == 4 else cv2.COLOR_GRAY2BGR
    return cast(Image, cv2.cvtColor(np.ascontiguousarray(array), code))


def _advice(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind == "f":
        return "Convert it first: (255 * frame).round().astype(numpy.uint8) for values from 0 to 1"
    if array.ndim == 4:
        return "Call once per frame"
    return "Give one picture as OpenCV reads it"
