"""Losses against values worked by hand and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from edgeseg.errors import UsageError
from edgeseg.metrics import confusion_matrix, iou_per_class
from edgeseg.train import losses
from edgeseg.train.criterion import LossConfig, make_criterion
from edgeseg.train.losses import cross_entropy, dice, distillation, focal, lovasz


def some(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target with a few ignored pixels."""
    torch.manual_seed(1)
    target = torch.randint(0, max(2, classes), (2, 5, 6))
    target[0, 0] = 255
    return torch.randn(2, classes, 5, 6), target


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


def test_class_weights_and_smoothing_of_many_classes_are_torch_s() -> None:
    logits, target = some(4)
    weights = [0.5, 1.0, 2.0, 4.0]
    wanted = F.cross_entropy(logits, target, torch.tensor(weights), ignore_index=255)
    assert torch.isclose(cross_entropy(logits, target, weights), wanted)
    wanted = F.cross_entropy(logits, target, ignore_index=255, label_smoothing=0.2)
    assert torch.isclose(cross_entropy(logits, target, smoothing=0.2), wanted)


@pytest.mark.parametrize("options", [{"class_weights": [1.0, 3.0]}, {"smoothing": 0.1}, {"keep": 0.3}])
def test_two_classes_are_many_classes_with_a_logit_of_zero(options: dict[str, object]) -> None:
    logits, target = some(1)
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert torch.isclose(cross_entropy(logits, target, **options), cross_entropy(both, target, **options))  # type: ignore[arg-type]
    assert torch.isclose(focal(logits, target), focal(both, target))


def test_only_the_hardest_pixels_count() -> None:
    logits = torch.tensor([[[[0.0, 1.0, 2.0, 3.0, 9.0]]]])
    target = torch.tensor([[[0, 0, 0, 0, 255]]])
    # Half of the four pixels that count.
    expected = (math.log(1 + math.exp(2.0)) + math.log(1 + math.exp(3.0))) / 2
    assert float(cross_entropy(logits, target, keep=0.5)) == pytest.approx(expected, rel=1e-6)


def test_focal_is_torchvision_s() -> None:
    logits, target = some(1)
    counts = target != 255
    wanted = sigmoid_focal_loss(
        logits[:, 0][counts], (target[counts] == 1).float(), alpha=-1, gamma=2, reduction="mean"
    )
    assert torch.isclose(focal(logits, target), wanted)


@pytest.mark.parametrize("classes", [1, 3])
def test_lovasz_of_a_hard_answer_is_one_minus_iou(classes: int) -> None:
    logits, target = some(classes)
    hard = torch.sign(logits) if classes == 1 else F.one_hot(logits.argmax(1), classes).permute(0, 3, 1, 2).float()
    guess = (hard[:, 0] > 0).long() if classes == 1 else hard.argmax(1)
    expected = []
    for truth, answer in zip(target.numpy().astype("uint8"), guess.numpy().astype("uint8"), strict=True):
        each = iou_per_class(confusion_matrix(truth, answer, max(2, classes)))
        present = [k for k in range(max(2, classes)) if (truth == k).any() and (classes > 1 or k == 1)]
        expected += [1 - each[k] for k in present]
    assert float(lovasz(hard * 1000, target)) == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_lovasz_of_a_large_picture_is_close_to_that_of_all_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(5)
    target = F.interpolate(torch.randint(0, 3, (2, 1, 5, 5), generator=rng).float(), (300, 200))[:, 0].long()
    logits = F.one_hot(target, 3).permute(0, 3, 1, 2) * 2.0 + torch.randn(2, 3, 300, 200, generator=rng)
    on_a_grid = float(lovasz(logits, target))
    monkeypatch.setattr(losses, "SORTED_PIXELS", 300 * 200)
    on_all = float(lovasz(logits, target))
    assert on_a_grid != on_all
    assert on_a_grid == pytest.approx(on_all, abs=0.02)


@pytest.mark.parametrize("term", [cross_entropy, dice, focal, lovasz])
@pytest.mark.parametrize("classes", [1, 3])
def test_each_loss_falls_as_the_answer_gets_better(term: object, classes: int) -> None:
    logits, target = some(classes)
    logits.requires_grad_(True)
    loss = term(logits, target)  # type: ignore[operator]
    loss.backward()
    assert logits.grad is not None
    assert float(term(logits.detach() - 5 * logits.grad, target)) < float(loss.detach())  # type: ignore[operator]
    assert float(logits.grad[0, :, 0].abs().max()) == 0.0


@pytest.mark.parametrize("term", [cross_entropy, dice, focal, lovasz])
def test_nothing_known_is_no_loss_and_no_nan(term: object) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = term(logits, torch.full((1, 4, 4), 255))  # type: ignore[operator]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0.0


def test_a_criterion_adds_its_terms() -> None:
    logits, target = some(3)
    config = LossConfig(cross_entropy=0.5, dice=0.0, lovasz=2.0, class_weights=(1.0, 2.0, 3.0))
    wanted = 0.5 * cross_entropy(logits, target, [1, 2, 3]) + 2.0 * lovasz(logits, target)
    assert torch.isclose(make_criterion(config, 3)(logits, target), wanted)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LossConfig(class_weights=(1.0, 2.0)), "do not fit the classes"),
        (LossConfig(hardest=0.0), "hardest is no share"),
        (LossConfig(label_smoothing=1.5), "label_smoothing is no share"),
        (LossConfig(cross_entropy=0.0, dice=0.0), "no loss"),
    ],
)
def test_what_a_criterion_refuses(config: LossConfig, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_criterion(config, 3)


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
    distillation(logits, [teacher]).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-7
    assert float(distillation(teacher + torch.randn_like(teacher), [teacher])) > float(distillation(teacher, [teacher]))


def test_of_several_teachers_the_mean_probability_is_followed() -> None:
    teachers = [torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), -1.0)]
    mean = (torch.sigmoid(teachers[0]) + torch.sigmoid(teachers[1])) / 2
    logits = torch.logit(mean).requires_grad_(True)
    distillation(logits, teachers).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    target = torch.tensor([[[1, 255], [0, 255]]])
    (cross_entropy(logits, target) + dice(logits, target)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, :, 1].abs().max() == 0
    assert logits.grad[0, 0, :, 0].abs().min() > 0
