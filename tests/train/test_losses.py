"""Losses against values worked by hand and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from edgeseg.train.losses import cross_entropy, dice, distillation


def test_two_class_cross_entropy_skips_ignored_pixels() -> None:
    logits = torch.tensor([[[[0.0, 2.0, -50.0]]]])
    target = torch.tensor([[[1, 0, 255]]])
    expected = (math.log(2.0) + math.log(1 + math.exp(2.0))) / 2
    assert float(cross_entropy(logits, target)) == pytest.approx(expected, rel=1e-6)


def test_many_classes_are_torch_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 5, 6))
    target[0, 0] = 255
    assert torch.isclose(cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=255))


def test_dice_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 100.0], [-100.0, 100.0]]]])
    target = torch.tensor([[[1, 1], [0, 0]]])
    # p = 0.5, 1, 0, 1: overlap 1.5, sums 2.5 and 2.
    assert float(dice(logits, target)) == pytest.approx(1 - (2 * 1.5 + 1) / (4.5 + 1), rel=1e-5)


def test_dice_is_zero_for_a_perfect_answer_of_many_classes() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    logits = F.one_hot(target, 3).permute(0, 3, 1, 2).float() * 100
    assert float(dice(logits, target)) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("classes", [1, 3])
def test_distillation_is_least_where_both_agree(classes: int) -> None:
    torch.manual_seed(0)
    teacher = torch.randn(2, classes, 4, 4)
    logits = teacher.clone().requires_grad_(True)
    distillation(logits, teacher).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-7
    assert float(distillation(teacher + torch.randn_like(teacher), teacher)) > float(distillation(teacher, teacher))


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    target = torch.tensor([[[1, 255], [0, 255]]])
    (cross_entropy(logits, target) + dice(logits, target)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, :, 1].abs().max() == 0
    assert logits.grad[0, 0, :, 0].abs().min() > 0
