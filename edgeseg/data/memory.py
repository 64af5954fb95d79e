"""What the frame before a single picture might have said, so that a network with memory needs no video to learn from.

Bazarevsky and Tkachenka 2018, "Mobile Real-time Video Segmentation", name three kinds: nothing, for the first frame and
for what comes into view; the truth moved, a little to be followed or a lot to be thrown away; and the picture itself
moved, as by a fast camera, with the truth where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

from edgeseg.data.geometric import Field, Geometric, random_matrix, warp, warp_mask
from edgeseg.errors import UsageError
from edgeseg.types import Image, LabelMap, Probability

# A network's answer has soft borders; standard deviation in pixels of the target.
SOFT_PX = 0.8


@dataclass(frozen=True, slots=True)
class SmallMove(Geometric):
    """What lies between two frames; see `Geometric`."""

    plain: float = 0.0
    rotate_deg: float = 5.0
    shear: float = 0.04
    zoom: tuple[float, float] = (0.93, 1.08)
    aspect: float = 1.06
    shift: float = 0.03
    flip: float = 0.0


@dataclass(frozen=True, slots=True)
class LargeMove(Geometric):
    """What makes a memory worthless; see `Geometric`."""

    plain: float = 0.0
    rotate_deg: float = 45.0
    shear: float = 0.3
    zoom: tuple[float, float] = (0.5, 2.0)
    shift: float = 0.5


@dataclass(frozen=True, slots=True)
class Memory:
    """Shares of the kinds of memory; what remains is the picture moved.

    Attributes:
        empty: nothing is remembered.
        moved: the truth under a small map.
        wrong: the truth under a large map, which is not to be trusted.
        small, large: those maps.
        bend: probability that a small map also bends, as a thin plate does.
        bend_px: standard deviation of the displacements of its control points, pixels of the target.
    """

    empty: float = 0.25
    moved: float = 0.35
    wrong: float = 0.15
    small: SmallMove = field(default_factory=SmallMove)
    large: LargeMove = field(default_factory=LargeMove)
    bend: float = 0.5
    bend_px: float = 3.0

    def __post_init__(self) -> None:
        shares = (self.empty, self.moved, self.wrong)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            todo = "Give shares from 0 that are 1 at most together"
            raise UsageError("impossible shares of memories", f"empty, moved, wrong: {shares}", todo)


def remember(
    rng: np.random.Generator, image: Image, mask: LabelMap, config: Memory
) -> tuple[Image, LabelMap, Probability]:
    """A sample with what is remembered.

    Args:
        rng: random numbers.
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W], 1 for the foreground.
        config: how often which kind.

    Returns:
        Picture and mask, moved where the kind says so, and uint8 [H, W], the probability of the frame before.
    """
    size = (mask.shape[0], mask.shape[1])
    kind = rng.random()
    if kind < config.empty:
        return image, mask, np.zeros_like(mask)
    if kind < config.empty + config.moved + config.wrong:
        ranges = config.small if kind < config.empty + config.moved else config.large
        return image, mask, _soft(warp_mask(mask, *_motion(rng, size, ranges, config), mirror=False))
    matrix, target, field = _motion(rng, size, config.small, config)
    return (*warp(image, mask, matrix, target, field), _soft(mask))


def planes(
    rng: np.random.Generator, image: Image, mask: LabelMap, config: Memory | None
) -> tuple[npt.NDArray[np.uint8], LabelMap]:
    """A sample as networks take it: uint8 [3, H, W] RGB, with a memory [4, H, W], and its mask uint8 [H, W]."""
    if config is None:
        return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)), mask
    image, mask, previous = remember(rng, image, mask, config)
    return np.concatenate([image[:, :, ::-1].transpose(2, 0, 1), previous[None]]), mask


def thin_plate(points: npt.NDArray[np.float64], moves: npt.NDArray[np.float64], size: tuple[int, int]) -> Field:
    """Displacements of a thin metal plate that is held at some points (Bookstein 1989, "Principal Warps").

    Args:
        points: float64 [K, 2], (x, y) in pixels, three or more and not all on a line.
        moves: float64 [K, 2], the displacement of each.
        size: (height, width) of the plate.

    Returns:
        float32 [H, W, 2], (x, y): `moves` at the points, and between them the surface of least bending energy.
    """
    count = len(points)
    # In units of the plate's size, or the system would be badly conditioned.
    scale = float(max(size))
    places = points / scale
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(places, places)
    system[:count, count] = system[count, :count] = 1.0
    system[:count, count + 1 :], system[count + 1 :, :count] = places, places.T
    weights = np.linalg.solve(system, np.vstack([moves, np.zeros((3, 2))]))
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    pixels = np.column_stack([columns.ravel(), rows.ravel()]) / scale
    field = _kernel(pixels, places) @ weights[:count] + weights[count] + pixels @ weights[count + 1 :]
    return field.reshape(*size, 2).astype(np.float32)  # type: ignore[no-any-return]


def _kernel(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """r^2 log r of the distances between [N, 2] and [K, 2]: [N, K]."""
    squares = ((a[:, None] - b[None]) ** 2).sum(-1)
    return 0.5 * squares * np.log(np.maximum(squares, 1e-300))  # type: ignore[no-any-return]


def _motion(
    rng: np.random.Generator, size: tuple[int, int], ranges: Geometric, config: Memory
) -> tuple[npt.NDArray[np.float64], tuple[int, int], Field | None]:
    matrix = random_matrix(rng, size, size, ranges)
    if ranges is not config.small or rng.random() >= config.bend:
        return matrix, size, None
    x, y = np.meshgrid(*(np.linspace(0, n - 1, 3) for n in size[::-1]))
    points = np.column_stack([x.ravel(), y.ravel()])
    return matrix, size, thin_plate(points, rng.normal(0.0, config.bend_px, points.shape), size)


def _soft(mask: LabelMap) -> Probability:
    import cv2

    return cast(Probability, cv2.GaussianBlur((mask == 1).astype(np.uint8) * 255, (0, 0), SOFT_PX))
