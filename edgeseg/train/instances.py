"""Instance segmentation as a run trains it: boxes, labels and masks in, the detector's own losses out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from edgeseg.data.average_precision import Detections, Precision
from edgeseg.data.evaluate import spread
from edgeseg.data.instance_pool import InstanceMaker, InstancePool
from edgeseg.data.instances import Instances, stacked
from edgeseg.errors import UsageError
from edgeseg.export.from_checkpoint import class_map
from edgeseg.models import build_instance
from edgeseg.models.base import Network
from edgeseg.train.criterion import LossConfig
from edgeseg.train.half import autocast
from edgeseg.train.parallel import Group
from edgeseg.train.pictures import SHOWN, draw_samples
from edgeseg.train.recipe import Recipe
from edgeseg.train.samples import Key, make_loader
from edgeseg.train.start import normalize
from edgeseg.types import Image, LabelMap

Target = dict[str, Tensor]
Batch = tuple[Tensor, list[Target]]  # uint8 [N, 3, H, W] RGB; boxes, labels and masks of each picture
# Instances below this score are not drawn. Average precision looks at all of them.
SHOWN_FROM = 0.5


class InstanceTask:
    """See `edgeseg.train.task.Task`.

    Args:
        recipe: what to do; `freeze_norms` keeps ImageNet's statistics, which batches of a few pictures cannot replace.
        data: folder that the recipe's paths are relative to.

    Raises:
        UsageError: a key that is for semantic networks, a size that cannot be exported, or a validation set without
            instances.
    """

    def __init__(self, recipe: Recipe, data: Path) -> None:
        self.recipe = recipe
        self.network = build_instance(recipe.network.name, classes=len(recipe.classes), **recipe.network.args)
        # Said before hours of training, not at the export.
        self.network.output_size(*recipe.size)
        self.pools = [InstancePool(data, item, recipe.classes) for item in recipe.train]
        self.val = {item.path: InstancePool(data, item, recipe.classes) for item in recipe.val}
        self.maker = InstanceMaker(self.pools, recipe.scenes)
        if recipe.loss != LossConfig():
            raise UsageError("loss is for semantic networks", recipe.network.name, "Leave it out")
        for name, pool in self.val.items():
            if not any((~pool[index][1].crowd).any() for index in range(len(pool))):
                raise UsageError("a validation set shows no instance", name, "Give pictures with instances")

    def batches(self, first_step: int, group: Group) -> Iterator[Batch]:
        """See `Task.batches`."""
        samples = InstanceSamples(self.maker, self.recipe.seed)
        return iter(make_loader(samples, self.recipe, first_step, group, _collate))

    def loss(self, batch: Batch, half: torch.dtype | None) -> Tensor:
        """The sum of the paper's five losses."""
        images, targets = batch
        x = normalize(images, self.network)
        with autocast(half, x):
            losses = self.network(x, targets)
        return torch.stack([value.float() for value in losses.values()]).sum()

    def validate(self, network: Network) -> Mapping[str, float]:
        """Mask AP and AP50 on each validation set, at the recipe's size."""
        values: dict[str, float] = {}
        for name, pool in self.val.items():
            collected = Precision()
            for index in range(len(pool)):
                image, truth = fitted(*pool[index], self.recipe.size)
                collected.add(truth, detect(network, image))
            found = collected.figures()
            values |= {f"ap/{name}": found["ap"], f"ap50/{name}": found["ap50"]}
        return values

    def draw(self, network: Network, path: Path) -> None:
        """See `Task.draw`; colours tell instances apart, not classes."""
        answers = []
        for pool in self.val.values():
            for index in spread(range(len(pool)), SHOWN):
                image, truth = fitted(*pool[index], self.recipe.size)
                found = detect(network, image)
                sure = found.instances.masks[found.scores >= SHOWN_FROM]
                answers.append((image, _numbered(truth.masks), _numbered(sure)))
        most = 1 + max(int(labels.max()) for _, *both in answers for labels in both)
        draw_samples(answers, class_map([str(number) for number in range(most)]), path)


class InstanceSamples(Dataset[tuple[Tensor, Target]]):
    """Makes the sample of a key: uint8 [3, H, W] RGB and its target."""

    def __init__(self, maker: InstanceMaker, seed: int) -> None:
        self.maker, self.seed = maker, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Target]:
        number, height, width = key
        image, instances = self.maker(np.random.default_rng([self.seed, number]), (height, width))
        return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))), target_of(instances)


def target_of(instances: Instances) -> Target:
    """boxes float32 [K, 4], labels int64 [K], masks uint8 [K, H, W], as torchvision's detectors take them."""
    return {
        "boxes": torch.from_numpy(instances.boxes()),
        "labels": torch.from_numpy(instances.labels),
        "masks": torch.from_numpy(instances.masks.astype(np.uint8)),
    }


def fitted(image: Image, instances: Instances, size: tuple[int, int]) -> tuple[Image, Instances]:
    """A picture and its instances stretched to `size` (height, width)."""
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    masks = [cv2.resize(m.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0 for m in instances.masks]
    return small, stacked(masks, instances.labels.tolist(), instances.crowd, size)  # type: ignore[return-value]


@torch.no_grad()
def detect(network: Any, image: Image) -> Detections:
    """What the network finds in one picture uint8 [H, W, 3] BGR of its own size; masks are cut at one half."""
    network.eval()
    rgb = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))[None]
    (found,) = network(normalize(rgb, network))
    masks = found["masks"][:, 0].numpy() > 0.5
    labels = found["labels"].numpy()
    instances = Instances(masks, labels, np.zeros(len(labels), bool))
    return Detections(instances, found["scores"].numpy(), found["boxes"].numpy())


def _numbered(masks: npt.NDArray[np.bool_]) -> LabelMap:
    labels = np.zeros(masks.shape[1:], np.uint8)
    # The best one, which comes first, on top.
    for number, mask in reversed(list(enumerate(masks, start=1))):
        labels[mask] = number
    return labels


def _collate(samples: Sequence[tuple[Tensor, Target]]) -> Batch:
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]
