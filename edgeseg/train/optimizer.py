"""The optimizer of a recipe, and the learning rate over its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from edgeseg.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """How weights follow the gradient.

    Attributes:
        kind: "adamw" (Loshchilov and Hutter 2019) or "sgd" (with Nesterov's momentum).
        lr: highest learning rate, of the decoder and head.
        encoder_lr: the same for the encoder, which starts from ImageNet weights.
        weight_decay: decay of kernels; biases and norms are left alone.
        momentum: of sgd.
        schedule: "cosine", "poly" (Chen et al. 2017) or "one_cycle" (Smith and Topin 2018, the rate alone).
        power: exponent of poly.
        warmup: steps of linear rise to `lr`; one_cycle rises for the first 30 % instead.
        final: last learning rate as a share of the highest.
        clip: largest norm of the gradient.
    """

    kind: str = "adamw"
    lr: float = 2e-3
    encoder_lr: float = 1e-3
    weight_decay: float = 0.02
    momentum: float = 0.9
    schedule: str = "cosine"
    power: float = 0.9
    warmup: int = 300
    final: float = 0.01
    clip: float = 2.0


def make_optimizer(network: nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Weights in four groups: encoder or not, decayed (kernels) or not (biases and norms).

    Raises:
        UsageError: an unknown kind or schedule.
    """
    if settings.schedule not in SCHEDULES:
        raise UsageError("unknown optimizer.schedule", settings.schedule, nearest(settings.schedule, SCHEDULES))
    encoder = getattr(network, "encoder", None)
    inside = {id(parameter) for parameter in encoder.parameters()} if encoder is not None else set()
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        parts.setdefault((id(parameter) in inside, parameter.ndim > 1), []).append(parameter)
    groups = [
        {
            "params": parameters,
            "highest": settings.encoder_lr if encoder else settings.lr,
            "weight_decay": settings.weight_decay if decayed else 0.0,
        }
        for (encoder, decayed), parameters in parts.items()
    ]
    if settings.kind == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    raise UsageError("unknown optimizer.kind", settings.kind, nearest(settings.kind, ("adamw", "sgd")))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to `factor` times its highest."""
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor


def rate_factor(step: int, steps: int, settings: OptimizerConfig) -> float:
    """Learning rate of `step`, 0 to `steps`, as a share of the highest."""
    if settings.schedule == "one_cycle":
        return _one_cycle(step, steps, settings)
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    return settings.final + (1 - settings.final) * _DECAYS[settings.schedule](done, settings)


def _one_cycle(step: int, steps: int, settings: OptimizerConfig) -> float:
    """Half a cosine up from 1/25, then another one down to `final`; the peak stands where torch's OneCycleLR has it."""
    start, peak = 1 / 25, 0.3 * steps - 1
    if step < peak:
        return start + (1 - start) * (1 - _cosine(step / peak, settings))
    done = min(1.0, (step - peak) / (steps - 1 - peak))
    return settings.final + (1 - settings.final) * _cosine(done, settings)


def _cosine(done: float, settings: OptimizerConfig) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


def _poly(done: float, settings: OptimizerConfig) -> float:
    return float((1 - done) ** settings.power)


# Share of the highest rate after a share of the steps behind the warm-up.
_DECAYS: Mapping[str, Callable[[float, OptimizerConfig], float]] = {"cosine": _cosine, "poly": _poly}
SCHEDULES = (*_DECAYS, "one_cycle")
