"""How much of each pixel is foreground: a model's coarse map, made to follow the edges of the picture."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgeseg.types import Result

Alpha = npt.NDArray[np.float32]  # [H, W], 0 (background) to 1

# Tried on portraits-eg1800 with the shipped model: wider and softer is further from the true outlines.
COARSE = 240  # short side of the picture that coefficients are computed on; what is finer comes from the full picture
RADIUS = 0.01  # of the short side: how far from the model's border an edge may be found
EDGE = 3e-4  # variance of gray (0 to 1) from which on a change of it counts as an edge
UNSURE = 0.2  # probabilities this far below and above the threshold are background and foreground for certain
HAZE = 0.2  # what the fit leaves of the foreground in the background, and the other way round, to be taken off


def soft_alpha(result: Result, threshold: float = 0.5) -> Alpha:
    """The share of foreground in each pixel, float32 [H, W], 0 to 1.

    The fast guided filter of He and Sun (arXiv 1505.00996, 2015; the guided filter itself: He, Sun, Tang, ECCV 2010):
    around each pixel the alpha is a line a * gray + b of the picture, fitted to the model's map on a small picture;
    a and b are smooth, so they are enlarged, and the edges come from the full picture.

    Args:
        result: of a model with `probability`, or else its label map counts: all but 0 is foreground.
        threshold: probability from which a label is 1; there alpha is 0.5 in the model's map.
    """
    import cv2

    image, labels = result.frame.image, result.label_map
    height, width = labels.shape
    alpha = np.zeros((height, width), np.float32)
    # A hand's breadth around what is labelled, as all else is background; often that is a small part.
    radius = max(2, round(RADIUS * min(height, width)))
    x, y, across, down = cv2.boundingRect(labels)
    if not across:
        return alpha
    rows = slice(max(0, y - 3 * radius), min(height, y + down + 3 * radius))
    columns = slice(max(0, x - 3 * radius), min(width, x + across + 3 * radius))
    guide = np.asarray(cv2.cvtColor(image[rows, columns], cv2.COLOR_BGR2GRAY), np.uint8)
    coarse = _map(result, rows, columns)
    scale = max(1.0, min(height, width) / COARSE)
    alpha[rows, columns] = _guided(guide, coarse, scale, radius, result.probability is not None, threshold)
    return alpha


def _map(result: Result, rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
    """What the model says of a part: its probability, or 0 and 255."""
    import cv2

    if result.probability is not None:
        return result.probability[rows, columns]
    _, mask = cv2.threshold(result.label_map[rows, columns], 0, 255, cv2.THRESH_BINARY)
    return cast(npt.NDArray[np.uint8], mask)


def _guided(
    guide: npt.NDArray[np.uint8],
    coarse: npt.NDArray[np.uint8],
    scale: float,
    radius: int,
    unsure: bool,
    threshold: float,
) -> Alpha:
    """The filter on one part of the picture."""
    import cv2

    height, width = guide.shape
    small = (max(1, round(width / scale)), max(1, round(height / scale)))
    gray = cv2.resize(guide, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    wanted = cv2.resize(coarse, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    if unsure:
        wanted = np.clip((wanted - threshold) / (2 * UNSURE) + 0.5, 0, 1)
    side = 2 * max(1, round(radius / scale)) + 1

    def mean(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)

    mean_gray, mean_wanted = mean(gray), mean(wanted)
    slope = (mean(gray * wanted) - mean_gray * mean_wanted) / (mean(gray * gray) - mean_gray * mean_gray + EDGE)
    base = mean(mean_wanted - slope * mean_gray)
    # Stretched here and not on the full picture, whose gray is 0 to 255.
    gain = 1 / (1 - 2 * HAZE)
    slope, base = mean(slope) * np.float32(gain / 255), (base - HAZE) * np.float32(gain)
    whole = (width, height)
    alpha = cv2.multiply(cv2.resize(slope, whole), guide, dtype=cv2.CV_32F)
    alpha = cv2.add(alpha, cv2.resize(base, whole), dst=alpha)
    return cast(Alpha, np.clip(alpha, 0, 1, out=alpha))
