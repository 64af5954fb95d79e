"""From sample numbers to batches. Sample k of a run is a function of (seed, k), so a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeseg.data.memory import Memory, planes
from edgeseg.data.scenes import SceneMaker
from edgeseg.train.parallel import Group
from edgeseg.train.recipe import Recipe

ALONE = Group()
Key = tuple[int, int, int]  # sample number, height, width


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Makes the sample of a key: uint8 [3, H, W] RGB and uint8 [H, W].

    Args:
        maker: makes pictures and masks.
        seed: of the run.
        memory: where given, a fourth channel has the probability of the frame before.
    """

    def __init__(self, maker: SceneMaker, seed: int, memory: Memory | None = None) -> None:
        self.maker, self.seed, self.memory = maker, seed, memory

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        number, height, width = key
        rng = np.random.default_rng([self.seed, number])
        channels, mask = planes(rng, *self.maker(rng, (height, width)), self.memory)
        return torch.from_numpy(channels), torch.from_numpy(mask)


def batch_keys(recipe: Recipe, first_step: int, group: Group = ALONE) -> Iterator[list[Key]]:
    """The keys of each batch from `first_step` on; those of several processes follow each other."""
    number = sum(recipe.phase(step).batch * group.size for step in range(first_step))
    for step in range(first_step, recipe.steps):
        phase = recipe.phase(step)
        height, width = phase.sizes[step % len(phase.sizes)]
        own = number + group.rank * phase.batch
        yield [(own + k, height, width) for k in range(phase.batch)]
        number += phase.batch * group.size


class _KeySampler:
    """The loader wants an object that can be iterated, not an iterator."""

    def __init__(self, recipe: Recipe, first_step: int, group: Group) -> None:
        self.recipe, self.first_step, self.group = recipe, first_step, group

    def __iter__(self) -> Iterator[list[Key]]:
        return batch_keys(self.recipe, self.first_step, self.group)


def make_loader(
    samples: Dataset[Any],
    recipe: Recipe,
    first_step: int,
    group: Group = ALONE,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """This process' batches from `first_step` to the end of the run.

    Args:
        samples: makes the sample of a key.
        recipe: sizes and batches.
        first_step: the step to begin with.
        group: the processes that share the run.
        collate: makes a batch of samples; stacks them unless given.
    """
    return DataLoader(
        samples,
        batch_sampler=_KeySampler(recipe, first_step, group),
        num_workers=recipe.workers,
        prefetch_factor=4 if recipe.workers else None,
        collate_fn=collate,
    )
