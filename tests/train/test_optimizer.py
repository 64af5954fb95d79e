"""Learning rates against torch's schedulers; which weights decay, and at which rate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from edgeseg.errors import UsageError
from edgeseg.models import build
from edgeseg.train.optimizer import OptimizerConfig, make_optimizer, rate_factor, set_rate

STEPS = 20


def rates_of_torch(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        (OptimizerConfig(warmup=0, final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1)),
        (
            OptimizerConfig(schedule="poly", warmup=0, final=0.0, power=0.7),
            lambda o: lr_scheduler.PolynomialLR(o, STEPS, power=0.7),
        ),
        (
            OptimizerConfig(schedule="one_cycle", final=0.01),
            lambda o: lr_scheduler.OneCycleLR(o, 1.0, STEPS, cycle_momentum=False, final_div_factor=4.0),
        ),
    ],
    ids=["cosine", "poly", "one_cycle"],
)
def test_schedules_are_torch_s(settings: OptimizerConfig, make: Callable[..., lr_scheduler.LRScheduler]) -> None:
    mine = [rate_factor(step, STEPS, settings) for step in range(STEPS)]
    assert mine == pytest.approx(rates_of_torch(make), abs=1e-9)


def test_the_rate_warms_up_and_decays() -> None:
    settings = OptimizerConfig(warmup=4, final=0.05)
    rates = [rate_factor(step, 8, settings) for step in range(9)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == pytest.approx(1.0)
    assert all(a > b for a, b in zip(rates[4:], rates[5:], strict=False))
    assert rates[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_kernels_decay_and_the_encoder_has_its_own_rate(kind: str) -> None:
    network = build("unet_lite", ratio=[0.1] * 7, stem=8)
    optimizer = make_optimizer(network, OptimizerConfig(kind=kind, lr=0.4, encoder_lr=0.1, weight_decay=0.5))
    set_rate(optimizer, 0.5)
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        group = of[id(parameter)]
        assert group["lr"] == (0.05 if name.startswith("encoder.") else 0.2)
        assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0.0)


def test_what_is_refused() -> None:
    network = torch.nn.Linear(1, 1)
    with pytest.raises(UsageError, match="Did you mean 'adamw'"):
        make_optimizer(network, OptimizerConfig(kind="adam"))
    with pytest.raises(UsageError, match="Did you mean 'cosine'"):
        make_optimizer(network, OptimizerConfig(schedule="cosinus"))
