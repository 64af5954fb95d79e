"""U-Net's weight map against its formula, with scipy's exact distances object by object."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from edgeseg.errors import UsageError
from edgeseg.train import losses
from edgeseg.train.borders import border_weights
from edgeseg.train.criterion import LossConfig, make_criterion


def by_formula(inside: np.ndarray, weight: float, sigma: float) -> np.ndarray:
    parts, count = ndimage.label(inside)
    away = np.sort([ndimage.distance_transform_edt(parts != part) for part in range(1, count + 1)], axis=0)
    if count < 2:
        return np.zeros(inside.shape)
    return np.where(inside, 0.0, weight * np.exp(-((away[0] + away[1]) ** 2) / (2 * sigma**2)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_it_is_the_formula(seed: int, sigma: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((70, 90)), 2.5)
    inside = noise > 0.05
    made = border_weights(torch.from_numpy(inside.astype(np.int64))[None], 1, 10.0, sigma)[0].numpy()
    assert made.max() > 1.0
    assert np.abs(made - by_formula(inside, 10.0, sigma)).max() < 1e-4


def test_one_object_alone_has_no_gap() -> None:
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[0, 5:9, 5:9] = 1
    assert not border_weights(target).any()
    # Seen as background objects, there is one as well.
    assert not border_weights(target, objects=0).any()


def test_a_mistake_in_a_gap_costs_more() -> None:
    target = torch.zeros(1, 24, 24, dtype=torch.int64)
    target[0, 4:20, 2:11] = 1
    target[0, 4:20, 13:22] = 1
    gap, far = (torch.full((1, 1, 24, 24), -4.0) for _ in range(2))
    right = torch.where(target[:, None] == 1, 4.0, -4.0)
    gap[:], far[:] = right, right
    gap[0, 0, 10, 11] = far[0, 0, 0, 0] = 4.0
    criterion = make_criterion(LossConfig(dice=0.0, border=10.0), 2)
    assert float(criterion(gap, target)) > 2 * float(criterion(far, target))
    plain = make_criterion(LossConfig(dice=0.0), 2)
    assert float(plain(gap, target)) == pytest.approx(float(plain(far, target)))


def test_ignored_pixels_stay_ignored() -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[0, :, :3], target[0, :, 4:], target[0, :, 3] = 1, 1, 255
    logits = torch.randn(1, 1, 8, 8)
    other = logits.clone()
    other[..., 3] += 5.0
    extra = border_weights(target)
    assert extra[0, 2, 3] > 5
    losses_of = [float(losses.cross_entropy(each, target, extra=extra)) for each in (logits, other)]
    assert losses_of[0] == pytest.approx(losses_of[1])


@pytest.mark.parametrize(
    "changes", [{"border_class": 2}, {"border_sigma": 0.0}, {"border": -1.0}, {"cross_entropy": 0.0}]
)
def test_impossible_weights_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="border"):
        make_criterion(LossConfig(**({"border": 10.0} | changes)), 2)  # type: ignore[arg-type]
