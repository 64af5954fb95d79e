"""Losses on logits; pixels of the ignore index count nowhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeseg.types import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy over the pixels that count.

    Args:
        logits: float [N, C, H, W]; C = 1 means the foreground's logit of two classes.
        target: int64 [N, H, W], class ids; 255 is ignored.
    """
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX)
    valid = (target != IGNORE_INDEX).to(logits.dtype)
    foreground = (target == 1).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits[:, 0], foreground, reduction="none")
    return (each * valid).sum() / valid.sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss, `1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`, averaged over pictures and classes.

    Milletari et al. 2016, here with plain instead of squared sums; the 1 makes an empty picture push all p to 0.

    Args:
        logits: float [N, C, H, W]; C = 1 means the foreground's logit of two classes.
        target: int64 [N, H, W], class ids; 255 is ignored.
    """
    valid = (target != IGNORE_INDEX)[:, None].to(logits.dtype)
    if logits.shape[1] == 1:
        share, truth = torch.sigmoid(logits), (target == 1)[:, None].to(logits.dtype)
    else:
        share = torch.softmax(logits, dim=1)
        ids = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
        truth = (target[:, None] == ids).to(logits.dtype)
    share, truth = share * valid, truth * valid
    overlap = (share * truth).sum(dim=(2, 3))
    total = share.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)).mean()


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross entropy against the teacher's probabilities (Hinton et al. 2015, at temperature 1).

    Args:
        logits: float [N, C, H, W]; C = 1 means the foreground's logit of two classes.
        teacher: float [N, C, H, W], the teacher's logits.
    """
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, torch.softmax(teacher, dim=1))
    return F.binary_cross_entropy_with_logits(logits, torch.sigmoid(teacher))
