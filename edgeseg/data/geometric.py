"""Paired geometric transforms: one map for image and mask, so that both are resampled once.

Shift, rotation, shear, zoom, change of aspect, flip and crop are factors of one 3x3 matrix; elastic deformation moves
its target pixels. A chain of library calls would interpolate the picture at each step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.types import Image, LabelMap

Matrix = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
# Of a picture beyond its border, where that is not mirrored: near the mean of photographs.
GRAY = 127


@dataclass(frozen=True, slots=True)
class Geometric:
    """Ranges of the random map; each value is drawn uniformly, zoom and aspect on a logarithmic scale.

    Attributes:
        plain: share of pictures that are only stretched to the target and flipped.
        rotate_deg: largest angle either way, degrees.
        shear: largest shear either way, as a tangent.
        zoom: (smallest, largest) magnification; above 1 crops.
        aspect: largest ratio of width to height by which the picture is stretched further, and its inverse.
        shift: largest move either way, as a share of the target's size.
        flip: probability of a mirror image.
        elastic: probability of an elastic deformation.
        elastic_px: standard deviation of its displacements, pixels of the target.
        elastic_grid: points a side on which displacements are drawn; between them they are interpolated cubically
            (Ronneberger et al. 2015 have 10 pixels on a grid of 3).
    """

    plain: float = 0.25
    rotate_deg: float = 20.0
    shear: float = 0.1
    zoom: tuple[float, float] = (0.7, 1.8)
    aspect: float = 1.6
    shift: float = 0.2
    flip: float = 0.5
    elastic: float = 0.0
    elastic_px: float = 10.0
    elastic_grid: int = 3


def random_matrix(
    rng: np.random.Generator, source: tuple[int, int], target: tuple[int, int], ranges: Geometric
) -> Matrix:
    """A map from source to target pixels, 3x3; sizes are (height, width)."""
    stretch = np.diag([target[1] / source[1], target[0] / source[0], 1.0])
    # Pixel centres lie at half integers, as in cv2.resize.
    matrix = _move(-0.5, -0.5) @ stretch @ _move(0.5, 0.5)
    if rng.random() < ranges.flip:
        matrix = np.array([[-1.0, 0, target[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    if rng.random() < ranges.plain:
        return matrix
    angle = math.radians(rng.uniform(-ranges.rotate_deg, ranges.rotate_deg))
    zoom = math.exp(rng.uniform(math.log(ranges.zoom[0]), math.log(ranges.zoom[1])))
    aspect = math.exp(0.5 * rng.uniform(-1, 1) * math.log(ranges.aspect))
    cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
    # Rotation is wanted in the picture's own pixels, not in the stretched ones, or people would lean.
    ratio = (target[1] / source[1]) / (target[0] / source[0])
    linear = np.array([[cos * aspect, -sin * ratio, 0], [sin / ratio, cos / aspect, 0], [0, 0, 1]])
    linear = linear @ np.array([[1, rng.uniform(-ranges.shear, ranges.shear), 0], [0, 1, 0], [0, 0, 1]])
    x, y = (target[1] - 1) / 2, (target[0] - 1) / 2
    shift = rng.uniform(-ranges.shift, ranges.shift, 2) * (target[1], target[0])
    moved: Matrix = _move(x + shift[0], y + shift[1]) @ linear @ _move(-x, -y) @ matrix
    return moved


def random_field(rng: np.random.Generator, target: tuple[int, int], ranges: Geometric) -> Field | None:
    """Displacements float32 [H, W, 2] (x, y), pixels of the target, or None where this picture is not deformed."""
    import cv2

    if rng.random() >= ranges.elastic:
        return None
    coarse = rng.normal(0.0, ranges.elastic_px, (ranges.elastic_grid, ranges.elastic_grid, 2)).astype(np.float32)
    return cv2.resize(coarse, (target[1], target[0]), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def warp(
    image: Image,
    mask: LabelMap,
    matrix: Matrix,
    target: tuple[int, int],
    field: Field | None = None,
    mirror: bool = True,
) -> tuple[Image, LabelMap]:
    """Resample picture (bilinear) and mask (nearest) to `target` (height, width).

    What a shrinking map would skip is averaged first, so that small targets do not alias.

    Args:
        image: uint8 [H, W, 3].
        mask: uint8 [H, W].
        matrix: from source to target pixels.
        target: (height, width).
        field: displacements of the target's pixels, by `random_field`.
        mirror: beyond the border picture and mask are mirrored; else the picture is gray there and the mask 0. A
            mirrored person is a person to a class map, but no part of the same instance.
    """
    return warp_image(image, matrix, target, field, mirror), warp_mask(mask, matrix, target, field, mirror)


def warp_image(
    image: Image, matrix: Matrix, target: tuple[int, int], field: Field | None = None, mirror: bool = True
) -> Image:
    """`warp` for a picture alone."""
    import cv2

    shrink = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    small = image
    reduced = matrix
    if shrink < 0.6:
        factor = max(shrink * 1.25, 0.05)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        sx, sy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        reduced = matrix @ _move(-0.5, -0.5) @ np.diag([1 / sx, 1 / sy, 1.0]) @ _move(0.5, 0.5)
    return _resample(small, reduced, target, field, cv2.INTER_LINEAR, None if mirror else GRAY)


def warp_mask(
    mask: LabelMap, matrix: Matrix, target: tuple[int, int], field: Field | None = None, mirror: bool = True
) -> LabelMap:
    """`warp` for a mask alone."""
    import cv2

    if int(mask.max(initial=0)) > 1:
        return _resample(mask, matrix, target, field, cv2.INTER_NEAREST, None if mirror else 0)
    # A two-class mask is resampled as a picture and cut at one half: its outline then moves with the picture's.
    soft = _resample(mask * np.uint8(255), matrix, target, field, cv2.INTER_LINEAR, None if mirror else 0)
    return (soft > 127).astype(np.uint8)


def _resample(
    values: npt.NDArray[np.uint8],
    matrix: Matrix,
    target: tuple[int, int],
    field: Field | None,
    mode: int,
    outside: int | None,
) -> npt.NDArray[np.uint8]:
    import cv2

    border = cv2.BORDER_REFLECT_101 if outside is None else cv2.BORDER_CONSTANT
    value = (outside or 0,) * 3
    if field is None:
        return cv2.warpAffine(  # type: ignore[return-value]
            values, matrix[:2], target[::-1], flags=mode, borderMode=border, borderValue=value
        )
    back = np.linalg.inv(matrix)
    rows, columns = np.mgrid[0 : target[0], 0 : target[1]].astype(np.float32)
    x, y = columns + field[..., 0], rows + field[..., 1]
    across = (back[0, 0] * x + back[0, 1] * y + back[0, 2]).astype(np.float32)
    down = (back[1, 0] * x + back[1, 1] * y + back[1, 2]).astype(np.float32)
    return cv2.remap(values, across, down, mode, borderMode=border, borderValue=value)  # type: ignore[return-value]


def _move(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
