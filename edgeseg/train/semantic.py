"""Semantic segmentation as a run trains it: class ids in, logits out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgeseg.data.evaluate import spread
from edgeseg.data.pool import Pool
from edgeseg.data.scenes import SceneMaker
from edgeseg.export.from_checkpoint import class_map
from edgeseg.models import build
from edgeseg.models.base import Network, SemanticNetwork
from edgeseg.models.ops import center_crop
from edgeseg.train.criterion import make_criterion
from edgeseg.train.half import autocast
from edgeseg.train.losses import distillation
from edgeseg.train.parallel import Group
from edgeseg.train.pictures import SHOWN, draw_samples
from edgeseg.train.recipe import Recipe
from edgeseg.train.samples import Samples, make_loader
from edgeseg.train.start import normalize
from edgeseg.train.validate import answer, mean_iou

Batch = tuple[Tensor, Tensor]  # uint8 [N, 3 or 4, H, W]: RGB and what is remembered; uint8 [N, H, W] of class ids


class SemanticTask:
    """See `edgeseg.train.task.Task`.

    Args:
        recipe: what to do.
        data: folder that the recipe's paths are relative to.
        teachers: the networks the mean of whose probabilities is learned too.
    """

    def __init__(self, recipe: Recipe, data: Path, teachers: Sequence[SemanticNetwork] = ()) -> None:
        self.recipe, count = recipe, len(recipe.classes)
        self.network: SemanticNetwork = build(
            recipe.network.name, classes=1 if count == 2 else count, **recipe.network.args
        )
        self.pools = [Pool(data, item, count, recipe.classes) for item in recipe.train]
        self.val = {item.path: Pool(data, item, count, recipe.classes) for item in recipe.val}
        self.maker = SceneMaker(self.pools, recipe.scenes)
        self.teachers = [_frozen(teacher) for teacher in teachers]
        self.criterion = make_criterion(recipe.loss, count)

    def batches(self, first_step: int, group: Group) -> Iterator[Batch]:
        """See `Task.batches`."""
        memory = self.recipe.memory if self.network.in_channels > 3 else None
        return iter(make_loader(Samples(self.maker, self.recipe.seed, memory), self.recipe, first_step, group))

    def loss(self, batch: Batch, half: torch.dtype | None) -> Tensor:
        """See `Task.loss`."""
        images, masks = batch
        x = normalize(images, self.network)
        with autocast(half, x):
            logits = self.network(x)
        logits = logits.float()
        # The classic U-Net answers for the middle of its picture.
        loss = self.criterion(logits, center_crop(masks, logits.shape[-2], logits.shape[-1]).long())
        if self.teachers:
            with torch.no_grad():
                taught = [teacher(_seen_by(teacher, x)) for teacher in self.teachers]
            loss = loss + self.recipe.distill * distillation(logits, taught)
        return loss

    def validate(self, network: Network) -> Mapping[str, float]:
        """Foreground IoU (or mIoU) on each validation set, at the recipe's size."""
        return {f"iou/{name}": mean_iou(network, pool, self.recipe.size) for name, pool in self.val.items()}

    def draw(self, network: Network, path: Path) -> None:
        """See `Task.draw`."""
        classes = class_map(list(self.recipe.classes), self.recipe.colors)
        network.eval()
        shown = (
            answer(network, *pool[index], self.recipe.size)
            for pool in self.val.values()
            for index in spread(range(len(pool)), SHOWN)
        )
        draw_samples(shown, classes, path)


def _seen_by(teacher: SemanticNetwork, x: Tensor) -> Tensor:
    """The student's input as a teacher takes it: without a memory, or with an empty one."""
    missing = teacher.in_channels - x.shape[1]
    if missing > 0:
        return torch.cat([x, torch.zeros_like(x[:, :missing])], dim=1)
    return x[:, : teacher.in_channels]


def _frozen(network: SemanticNetwork) -> SemanticNetwork:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)
