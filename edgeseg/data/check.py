"""Read every picture of a recipe's sets before training starts, and count what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.data.instance_pool import InstancePool
from edgeseg.data.pool import Pool
from edgeseg.types import IGNORE_INDEX


@dataclass(frozen=True, slots=True)
class SetReport:
    """What a set holds.

    Attributes:
        path, split: the set.
        pictures: how many there are.
        shares: share of the known pixels by class id, 0 to 1.
        ignored: share of all pixels that is not known, 0 to 1.
        instances: of an instance set, how many there are of each class; () for class maps.
    """

    path: str
    split: str
    pictures: int
    shares: tuple[float, ...]
    ignored: float
    instances: tuple[int, ...] = ()


def check_set(pool: Pool, on_picture: Callable[[], object] | None = None) -> SetReport:
    """Read all pictures of a set.

    Args:
        pool: the set.
        on_picture: called after each picture.

    Raises:
        InputError: the first file that cannot be read, has another size than its picture, or an unknown class id.
    """
    counts = np.zeros(256, np.int64)
    for index in range(len(pool)):
        _, mask = pool[index]
        counts += np.bincount(mask.ravel(), minlength=256)
        if on_picture is not None:
            on_picture()
    ignored, known = int(counts[IGNORE_INDEX]), counts[: pool.classes]
    shares = tuple(float(n) / max(1, int(known.sum())) for n in known)
    return SetReport(pool.config.path, pool.config.split, len(pool), shares, ignored / max(1, int(counts.sum())))


def check_instances(pool: InstancePool, classes: int, on_picture: Callable[[], object] | None = None) -> SetReport:
    """`check_set` for instances: pixels of each class, crowds as not known, and numbers of instances."""
    pixels, counts, ignored = np.zeros(classes, np.int64), np.zeros(classes, np.int64), 0
    for index in range(len(pool)):
        image, found = pool[index]
        crowd = found.masks[found.crowd].any(0)
        ignored += int(crowd.sum())
        covered = crowd.copy()
        for mask, label in zip(found.masks[~found.crowd], found.labels[~found.crowd], strict=True):
            pixels[label] += int(mask.sum())
            counts[label] += 1
            covered |= mask
        pixels[0] += image.shape[0] * image.shape[1] - int(covered.sum())
        if on_picture is not None:
            on_picture()
    total = max(1, int(pixels.sum()))
    shares = tuple(float(n) / total for n in pixels)
    config = pool.config
    return SetReport(
        config.path, config.split, len(pool), shares, ignored / (total + ignored), tuple(int(n) for n in counts)
    )


def table(reports: Sequence[SetReport], names: Sequence[str]) -> str:
    """The reports for people to read: a line a set, then one a class."""
    lines = []
    for report in reports:
        lines.append(f"{report.path}, {report.split}: {report.pictures} pictures, {report.ignored:.1%} not counted")
        for number, (name, share) in enumerate(zip(names, report.shares, strict=True)):
            counted = f"  {report.instances[number]:6d} instances" if report.instances and number else ""
            lines.append(f"  {name:24s} {share:7.2%}{counted}")
    return "\n".join(lines)


def unseen(reports: Sequence[SetReport], names: Sequence[str]) -> list[str]:
    """Classes that no set has a pixel of."""
    return [name for number, name in enumerate(names) if not any(report.shares[number] for report in reports)]
