"""U-Net's weight map: a pixel in a narrow gap between two objects counts more, so that touching objects come apart."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Where the distances add up to more than so many sigmas, nothing is left of the weight (exp(-12.5)).
REACH = 5.0


def border_weights(target: Tensor, objects: int = 1, weight: float = 10.0, sigma: float = 5.0) -> Tensor:
    """`weight * exp(-(d1 + d2)^2 / (2 sigma^2))` outside the objects, 0 inside (Ronneberger et al. 2015, equation 2).

    Args:
        target: integer [N, H, W] of class ids.
        objects: class whose connected parts (4 neighbours) are the objects.
        weight: of a pixel that two objects touch, `w0`; 10 in the paper.
        sigma: width of the gaps that matter, pixels; 5 in the paper.

    Returns:
        float32 [N, H, W], what is added to the weight of each pixel; d1 and d2 are its distances, in pixels, to the
        nearest and the second nearest object.
    """
    made = [_weights(labels == objects, weight, sigma) for labels in target.cpu().numpy()]
    return torch.from_numpy(np.stack(made)).to(target.device)


def _weights(inside: npt.NDArray[np.bool_], weight: float, sigma: float) -> npt.NDArray[np.float32]:
    import cv2

    count, parts, boxes, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    reach = math.ceil(REACH * sigma)
    nearest = np.full(inside.shape, np.inf, np.float32)
    second = nearest.copy()
    for part in range(1, count):
        left, top, width, height = boxes[part, :4]
        window = (
            slice(max(0, top - reach), top + height + reach),
            slice(max(0, left - reach), left + width + reach),
        )
        away = cv2.distanceTransform((parts[window] != part).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        second[window] = np.minimum(second[window], np.maximum(nearest[window], away))
        nearest[window] = np.minimum(nearest[window], away)
    together: npt.NDArray[np.float32] = nearest + second
    values = weight * np.exp(-0.5 * (together / sigma) ** 2)
    return np.where(inside, 0.0, values).astype(np.float32)
