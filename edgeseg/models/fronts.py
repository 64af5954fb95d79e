"""A network's front replaced by one of another kind that is fitted to compute nearly the same, before any training.

A light network's first layers work on its largest maps. A front of patches (Dosovitskiy et al. 2021) goes to stride 4
in one step. What it should give there is what the old front gives, so it is fitted to that by gradient descent on
pictures; what lies behind is taken over as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeseg.models.encoders.efficientnet_lite import FRONT, EfficientNetLite0

STEPS, BATCH, LR, WARMUP = 400, 12, 4e-3, 20
# Share of the pictures that only measure.
HELD_BACK = 0.125


def can_refit(given: EfficientNetLite0, own: EfficientNetLite0) -> bool:
    """Whether `own` has a front of patches, `given` another one, and what lies behind has the same shapes in both."""
    theirs, mine = (_shapes(encoder.stages[FRONT:]) for encoder in (given, own))
    return bool(own.patch) and not given.patch and theirs == mine


def fit_front(given: EfficientNetLite0, own: EfficientNetLite0, images: Tensor, seed: int = 0) -> float:
    """Fill `own` from `given`: the front by fitting, the rest by copying.

    Args:
        given: a trained encoder.
        own: one of the same stages behind its front of patches.
        images: float32 [N, 3, H, W], normalized pictures of the kind that the network will see, N at least 16.
        seed: of the order of the pictures.

    Returns:
        The share of the old front's variance that the new one does not explain, on pictures held back, 0 to 1.
    """
    generator = torch.Generator().manual_seed(seed)
    old, new = _front(given).eval(), _front(own).train()
    with torch.no_grad():
        wanted = torch.cat([old(batch) for batch in torch.split(images, BATCH)])
    deviation, mean = torch.std_mean(wanted, dim=(0, 2, 3), keepdim=True)
    # Learned in units of each channel's deviation, which the last norm takes over in the end.
    wanted = (wanted - mean) / deviation
    cut = len(images) - max(2, int(HELD_BACK * len(images)))
    optimizer = torch.optim.AdamW(new.parameters(), lr=LR, weight_decay=1e-4)
    with torch.enable_grad():
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = LR * min(1.0, (step + 1) / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
            chosen = torch.randint(0, cut, (BATCH,), generator=generator)
            loss = (new(images[chosen]) - wanted[chosen]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    new.eval()
    with torch.no_grad():
        given_back = torch.cat([new(batch) for batch in torch.split(images[cut:], BATCH)])
        lost = float((given_back - wanted[cut:]).square().mean() / wanted[cut:].var())
        norm = [module for module in new.modules() if isinstance(module, nn.BatchNorm2d)][-1]
        norm.weight.mul_(deviation.flatten())
        norm.bias.mul_(deviation.flatten()).add_(mean.flatten())
    own.stages[FRONT:].load_state_dict(given.stages[FRONT:].state_dict())
    return lost


def _front(encoder: EfficientNetLite0) -> nn.Sequential:
    return nn.Sequential(encoder.stem, *encoder.stages[:FRONT])


def _shapes(stages: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in stages.state_dict().items()}
