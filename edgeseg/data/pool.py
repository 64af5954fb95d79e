"""The pictures that training draws from: several sets side by side, their labels mapped to the model's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeseg.data.classes import label_table, read_classes
from edgeseg.data.folder import Sample, list_samples, read_pair
from edgeseg.errors import InputError
from edgeseg.types import IGNORE_INDEX, Image, LabelMap

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SetConfig:
    """One data set of a recipe.

    Attributes:
        path: its folder, relative to `--data`.
        split: name of the split.
        weight: share of the samples that come from here, relative to the other sets.
        labels: file value -> class id; values that are not named become `other`. Without both, a classes.txt of the set
            says which value is which class.
        other: class id of all values that `labels` does not name; None keeps them as they are.
        part: "k/n" keeps every n-th sample from the k-th on; None keeps all.
        without: "k/n" leaves those out.
        cutouts: people of this set may be pasted into other pictures.
        feet: its people are shown down to their feet, so they may stand anywhere; else they touch the lower border.
    """

    path: str
    split: str = "train"
    weight: float = 1.0
    labels: Mapping[int, int] = field(default_factory=dict)
    other: int | None = None
    part: str | None = None
    without: str | None = None
    cutouts: bool = False
    feet: bool = False


class Pool:
    """The samples of one set, their values mapped to class ids.

    Args:
        root: folder that the set's path is relative to.
        config: the set.
        classes: how many classes there are.
        names: their names by id, to read the set's classes.txt by; empty: the files hold class ids.
        cache: keep decoded pictures in memory.

    Raises:
        InputError: an unreadable file, a mask of another size, or a label that is no class, naming the file.
    """

    def __init__(
        self, root: Path, config: SetConfig, classes: int, names: Sequence[str] = (), cache: bool = True
    ) -> None:
        self.config, self.classes = config, classes
        self.samples = take_part(list_samples(root / config.path, config.split), config)
        self._cache: list[tuple[Image, LabelMap] | None] | None = [None] * len(self.samples) if cache else None
        self._table = _label_table(config, root / config.path, names)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image, LabelMap]:
        if self._cache is not None:
            kept = self._cache[index]
            if kept is not None:
                return kept
        pair = self._read(self.samples[index])
        if self._cache is not None:
            self._cache[index] = pair
        return pair

    def load(self) -> None:
        """Decode everything now, so that worker processes share it."""
        for index in range(len(self)):
            self[index]

    def _read(self, sample: Sample) -> tuple[Image, LabelMap]:
        image, raw = read_pair(sample)
        mask = self._table[raw]
        ids = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        wrong = [int(i) for i in ids if i >= self.classes and i != IGNORE_INDEX]
        if wrong:
            raise InputError(
                "unknown class id", f"{wrong[0]} in {sample.mask}", f"Ids are 0 to {self.classes - 1} and 255"
            )
        return image, mask


def take_part(samples: Sequence[Item], config: SetConfig) -> list[Item]:
    """Those samples of a split that `part` and `without` of its configuration leave."""

    def chosen(rule: str) -> set[int]:
        first, step = (int(number) for number in rule.split("/"))
        return set(range(first, len(samples), step))

    keep = chosen(config.part) if config.part else set(range(len(samples)))
    keep -= chosen(config.without) if config.without else set()
    return [sample for index, sample in enumerate(samples) if index in keep]


def _label_table(config: SetConfig, folder: Path, names: Sequence[str]) -> LabelMap:
    listed = read_classes(folder) if names and not config.labels and config.other is None else ()
    if listed:
        return label_table(listed, names, folder)
    table = np.arange(256, dtype=np.uint8)
    if config.other is not None:
        table[:] = config.other
    for value, label in config.labels.items():
        table[int(value)] = label
    return table
