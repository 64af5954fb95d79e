"""Losses on logits; pixels of the ignore index count nowhere.

Everywhere: logits float [N, C, H, W], C = 1 meaning the foreground's logit of two classes; target int64 [N, H, W] of
class ids, 255 ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeseg.types import IGNORE_INDEX

# Pixels of a picture that the Lovász term sorts, for each class anew: on a CPU all of them are many.
SORTED_PIXELS = 1 << 14


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Sequence[float] = (),
    smoothing: float = 0.0,
    keep: float = 1.0,
    extra: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy over the pixels that count.

    Args:
        logits, target: see the top of the file.
        class_weights: one a class; a pixel counts as its class weighs. Empty: all alike.
        smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
        keep: share of the pixels, those with the largest loss, that count (online hard example mining, Shrivastava et
            al. 2016, on pixels).
        extra: float [N, H, W], added to the weight of each pixel that counts, as `borders.border_weights` gives it.
    """
    losses, weights = _each(logits, target, class_weights, smoothing)
    if extra is not None:
        heavier = torch.where(weights > 0, weights + extra, weights)
        losses, weights = losses / weights.clamp(min=1e-6) * heavier, heavier
    if keep < 1.0:
        count = max(1, int(keep * int((weights > 0).sum())))
        losses, chosen = losses.flatten().topk(count)
        weights = weights.flatten()[chosen]
    return losses.sum() / weights.sum().clamp(min=1e-6)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, class_weights: Sequence[float] = ()) -> Tensor:
    """Cross entropy with each pixel scaled by `(1 - p)^gamma`, p its true class' probability (Lin et al. 2017)."""
    losses, weights = _each(logits, target, class_weights, 0.0)
    # Loss over weight is -log p; ignored pixels have neither.
    share = torch.exp(-losses / weights.clamp(min=1e-6))
    return ((1.0 - share) ** gamma * losses).sum() / weights.sum().clamp(min=1e-6)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss, `1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`, averaged over pictures and classes.

    Milletari et al. 2016, here with plain instead of squared sums; the 1 makes an empty picture push all p to 0.
    """
    share, truth, valid = _shares(logits, target)
    share, truth = share * valid, truth * valid
    overlap = (share * truth).sum(dim=(2, 3))
    total = share.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)).mean()


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovász-Softmax (Berman et al. 2018): the convex extension of 1 - IoU, averaged over the classes in each picture.

    Two classes: the foreground alone, by its probability. Pictures of more than `SORTED_PIXELS` count on a regular grid
    of about as many pixels; crops are drawn at random, so that over a run every pixel counts.
    """
    step = math.ceil(math.sqrt(target[0].numel() / SORTED_PIXELS))
    logits, target = logits[..., ::step, ::step], target[..., ::step, ::step]
    share, truth, valid = _shares(logits, target)
    each = []
    for picture in range(len(share)):
        counts = valid[picture, 0].bool()
        for p, t in zip(share[picture], truth[picture], strict=True):
            t = t[counts]
            if len(share[picture]) == 1 or bool(t.any()):
                errors, order = (t - p[counts]).abs().sort(descending=True)
                each.append(errors @ _jaccard_steps(t[order]))
    return torch.stack(each).mean() if each else logits.sum() * 0.0


def distillation(logits: Tensor, teachers: Sequence[Tensor]) -> Tensor:
    """Mean cross entropy against the mean of the teachers' probabilities (Hinton et al. 2015, at temperature 1).

    Args:
        logits: see the top of the file.
        teachers: each teacher's logits, of the same shape; one or more.
    """
    if logits.shape[1] > 1:
        return F.cross_entropy(logits, torch.stack([torch.softmax(each, dim=1) for each in teachers]).mean(0))
    wanted = torch.stack([torch.sigmoid(each) for each in teachers]).mean(0)
    return F.binary_cross_entropy_with_logits(logits, wanted)


def _each(logits: Tensor, target: Tensor, class_weights: Sequence[float], smoothing: float) -> tuple[Tensor, Tensor]:
    """Weighted loss and weight of each pixel, [N, H, W]; both 0 where the target is ignored."""
    valid = target != IGNORE_INDEX
    known = target.masked_fill(~valid, 0)
    if class_weights:
        weights = torch.tensor(class_weights, dtype=logits.dtype, device=logits.device)[known] * valid
    else:
        weights = valid.to(logits.dtype)
    if logits.shape[1] > 1:
        losses = F.cross_entropy(logits, known, reduction="none", label_smoothing=smoothing)
    else:
        wanted = (known == 1).to(logits.dtype) * (1.0 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="none")
    return losses * weights, weights


def _shares(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and truth [N, C, H, W], and which pixels count [N, 1, H, W]; all in the type of the logits."""
    valid = (target != IGNORE_INDEX)[:, None].to(logits.dtype)
    if logits.shape[1] == 1:
        return torch.sigmoid(logits), (target == 1)[:, None].to(logits.dtype), valid
    ids = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    return torch.softmax(logits, dim=1), (target[:, None] == ids).to(logits.dtype), valid


def _jaccard_steps(truth: Tensor) -> Tensor:
    """By how much 1 - IoU grows as pixels turn wrong one after the other; `truth` sorted by error, worst first."""
    total = truth.sum()
    jaccard = 1.0 - (total - truth.cumsum(0)) / (total + (1.0 - truth).cumsum(0)).clamp(min=1e-6)
    return torch.diff(jaccard, prepend=jaccard.new_zeros(1))
