"""Several processes train one network, each on its own samples: what torchrun starts, over gloo.

    torchrun --nproc-per-node 2 -m edgeseg train RECIPE --data DIR

A recipe's batch is that of one process. Gradients are averaged before each step, so that all processes hold the same
weights; the first one alone writes files. Norm statistics are those of the first process' samples.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a run.

    Attributes:
        rank: this one's number.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes."""
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.size == 1 or not grads:
            return
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= self.size
        for grad, part in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view(grad.shape))

    def mean(self, value: Tensor) -> float:
        """The mean of a scalar over the processes."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return total.item() / self.size

    def leave(self) -> None:
        """Wait for the others and end this process, where it is one of several; alone, do nothing.

        Not by the interpreter's own end: now and then a thread of gloo's outlives its group and aborts the process
        then, which torchrun takes for a failure.
        """
        if self.size > 1:
            dist.barrier()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def of_first(self, value: Value) -> Value:
        """The first process' value, in all of them; it must be possible to pickle it."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


def join_group() -> Group:
    """The processes that torchrun started, this one among them; this one alone where it was started by hand."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Group()
    if not dist.is_initialized():
        # The others wait for the first one's validation in their next step; half an hour is not enough for all sets.
        dist.init_process_group("gloo", timeout=timedelta(hours=24))
    return Group(dist.get_rank(), dist.get_world_size())
