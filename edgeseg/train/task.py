"""What a run needs to know of what it trains; the loop itself is the same for class maps and for instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from edgeseg.errors import UsageError
from edgeseg.models import INSTANCE_REGISTRY
from edgeseg.train.parallel import Group
from edgeseg.train.recipe import Recipe
from edgeseg.train.start import PictureMaker

if TYPE_CHECKING:
    from edgeseg.models.base import Network, SemanticNetwork


class Loadable(Protocol):
    """A set of pictures that may be decoded before training."""

    def load(self) -> None:
        """Decode everything now, so that worker processes share it."""
        ...


class Task(Protocol):
    """A network with its samples, its loss and its measure."""

    @property
    def network(self) -> Network:
        """What is trained."""
        ...

    @property
    def pools(self) -> Sequence[Loadable]:
        """The training sets."""
        ...

    @property
    def val(self) -> Mapping[str, Any]:
        """The validation sets by name."""
        ...

    @property
    def maker(self) -> PictureMaker:
        """Makes samples of the training sets."""
        ...

    def batches(self, first_step: int, group: Group) -> Iterator[tuple[Tensor, Any]]:
        """This process' batches from `first_step` to the end of the run: pictures first."""
        ...

    def loss(self, batch: Any, half: torch.dtype | None) -> Tensor:
        """The loss of a batch, a scalar; the forward pass in half precision where a type is given."""
        ...

    def validate(self, network: Network) -> Mapping[str, float]:
        """Figures of `network` on each validation set, larger is better; the best checkpoint is that of their mean."""
        ...

    def draw(self, network: Network, path: Path) -> None:
        """Write what `network` says of some validation pictures to a .jpg file."""
        ...


def make_task(recipe: Recipe, data: Path, teachers: Sequence[SemanticNetwork] = ()) -> Task:
    """The task of a recipe, by the name of its network.

    Raises:
        UsageError: the recipe asks for something that instance networks do not have.
    """
    if recipe.network.name not in INSTANCE_REGISTRY:
        from edgeseg.train.semantic import SemanticTask

        return SemanticTask(recipe, data, teachers)
    from edgeseg.train.instances import InstanceTask

    for key, used in (("teachers", bool(recipe.teachers)), ("int8_from", recipe.int8_from < 1.0)):
        if used:
            raise UsageError(f"{key} is for semantic networks", recipe.network.name, f"Leave {key} out")
    return InstanceTask(recipe, data)
