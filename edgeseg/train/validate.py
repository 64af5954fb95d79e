"""How good the weights are so far: IoU at the network's own size, on pictures that are not trained on."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from edgeseg.data.pool import Pool
from edgeseg.models.base import Network
from edgeseg.models.ops import center_crop
from edgeseg.train.start import normalize
from edgeseg.types import IGNORE_INDEX, Image, LabelMap


@torch.no_grad()
def answer(network: Network, image: Image, mask: LabelMap, size: tuple[int, int]) -> tuple[Image, LabelMap, LabelMap]:
    """What a network says of a picture.

    Args:
        network: in evaluation mode.
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W], the truth.
        size: (height, width) that both are stretched to; the mask by nearest neighbour.

    Returns:
        Picture, truth and answer at the size of what the network answers for, which may be less than `size`.
    """
    small = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    truth = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    rgb = torch.from_numpy(np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1)))[None]
    logits = network(normalize(rgb, network))[0].numpy()
    given = (logits[0] > 0 if len(logits) == 1 else logits.argmax(axis=0)).astype(np.uint8)
    middle = center_crop(torch.from_numpy(truth), *given.shape).numpy()
    inner = center_crop(torch.from_numpy(small).permute(2, 0, 1), *given.shape).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(inner), middle.astype(np.uint8), given


def mean_iou(network: Network, pool: Pool, size: tuple[int, int]) -> float:
    """Mean over pictures of the foreground's IoU (two classes), or mIoU over all pictures (more classes).

    Pictures are stretched to `size` (height, width). `edgeseg eval` measures at full size.
    """
    network.eval()
    overlaps: list[float] = []
    matrix = np.zeros((pool.classes, pool.classes), np.int64)
    for index in range(len(pool)):
        _, truth, guess = answer(network, *pool[index], size)
        valid = truth != IGNORE_INDEX
        if pool.classes == 2:
            both, either = ((guess == 1) & (truth == 1)).sum(), (((guess == 1) | (truth == 1)) & valid).sum()
            overlaps.append(float(both / either) if either else 1.0)
        else:
            pairs = truth[valid].astype(np.int64) * pool.classes + guess[valid]
            matrix += np.bincount(pairs, minlength=pool.classes**2).reshape(pool.classes, -1)
    if pool.classes == 2:
        return float(np.mean(overlaps))
    either_class = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    seen = either_class > 0
    return float((np.diag(matrix)[seen] / either_class[seen]).mean())
