"""The sum of losses that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from edgeseg.errors import UsageError
from edgeseg.train import losses
from edgeseg.train.borders import border_weights


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the terms; 0 leaves a term out.

    Attributes:
        cross_entropy, dice, focal, lovasz: weight of each term.
        class_weights: one a class, for cross entropy and focal; empty: all alike.
        label_smoothing: share of the target that cross entropy spreads over all classes, 0 to 1.
        hardest: share of the pixels that cross entropy counts, those with the largest loss, above 0 to 1.
        gamma: exponent of the focal term.
        border: weight that cross entropy adds between two objects that nearly touch, as U-Net did (10); 0 for none.
        border_sigma: width of the gaps that matter, pixels.
        border_class: class whose connected parts are the objects.
    """

    cross_entropy: float = 1.0
    dice: float = 1.0
    focal: float = 0.0
    lovasz: float = 0.0
    class_weights: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    hardest: float = 1.0
    gamma: float = 2.0
    border: float = 0.0
    border_sigma: float = 5.0
    border_class: int = 1


def make_criterion(config: LossConfig, classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of (logits, target).

    Raises:
        UsageError: no term at all, a share out of range, or class weights that do not fit the classes.
    """
    weights = config.class_weights
    if weights and len(weights) != classes:
        raise UsageError("loss.class_weights do not fit the classes", list(weights), f"Give {classes}, or none")
    for name, value, low in (("label_smoothing", config.label_smoothing, -1e-9), ("hardest", config.hardest, 0.0)):
        if not low < value <= 1.0:
            raise UsageError(f"loss.{name} is no share", value, "Give a number up to 1")
    if config.border and not (config.border > 0 < config.border_sigma and 0 <= config.border_class < classes):
        seen = f"border {config.border}, border_sigma {config.border_sigma}, border_class {config.border_class}"
        raise UsageError("impossible border weights", seen, "Give a weight and a sigma above 0 and a known class id")
    if config.border and not config.cross_entropy:
        raise UsageError("border weights without cross entropy", config, "Give loss.cross_entropy a weight above 0")

    def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
        gaps = (config.border_class, config.border, config.border_sigma)
        extra = border_weights(target, *gaps) if config.border else None
        return losses.cross_entropy(logits, target, weights, config.label_smoothing, config.hardest, extra)

    terms: list[tuple[float, Callable[[Tensor, Tensor], Tensor]]] = [
        (config.cross_entropy, cross_entropy),
        (config.dice, losses.dice),
        (config.focal, lambda x, t: losses.focal(x, t, config.gamma, weights)),
        (config.lovasz, losses.lovasz),
    ]
    terms = [(share, term) for share, term in terms if share]
    if not terms:
        raise UsageError("the recipe has no loss", config, "Give one term of loss a weight above 0")

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        (share, term), *others = terms
        total = share * term(logits, target)
        for share, term in others:
            total = total + share * term(logits, target)
        return total

    return criterion
