"""`--require KEY>=VALUE`: figures of a report held against limits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeseg.bench.report import BenchReport
from edgeseg.errors import LimitError, UsageError, nearest

_SPANS = ("engine", "end_to_end", "preprocess", "inference", "postprocess")
KEYS = (
    *(f"{span}_p{percent}_ms" for span in _SPANS for percent in (50, 95, 99)),
    "throughput_fps",
    "engine_throughput_fps",
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One limit: `key` must be at least (`>=`) or at most (`<=`) `value`."""

    key: str
    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.key}{self.sign}{self.value:g}"

    def holds(self, seen: float) -> bool:
        """True where `seen` meets the limit."""
        return seen >= self.value if self.sign == ">=" else seen <= self.value


def parse_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """Read limits; a UsageError for a bad one, so that it shows before anything is measured."""
    return tuple(_parse(text) for text in texts)


def check_requirements(report: BenchReport, requirements: Sequence[str | Requirement]) -> None:
    """Hold every measured pair against every limit.

    Args:
        report: the figures.
        requirements: limits, "end_to_end_p50_ms<=8" for one; keys are `KEYS`.

    Raises:
        UsageError: a limit that cannot be read, or an unknown key.
        LimitError: at least one pair misses at least one limit; the message names them all.
    """
    limits = [_parse(item) if isinstance(item, str) else item for item in requirements]
    missed = []
    for limit in limits:
        for pair in report.pairs:
            seen = pair.figures()[limit.key]
            if not limit.holds(seen):
                missed.append(f"{limit} has {seen:.2f} with {pair.backend} {pair.precision}")
    if missed:
        raise LimitError("a limit was missed", "; ".join(missed), "See the table for the other figures")


def _parse(text: str) -> Requirement:
    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*", text)
    if match is None:
        raise UsageError("a limit that cannot be read", text, "Write KEY>=VALUE or KEY<=VALUE")
    key, sign, number = match.groups()
    if key not in KEYS:
        raise UsageError("unknown figure in a limit", key, nearest(key, KEYS))
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError("a limit without a number", text, "Write KEY>=VALUE, the value as a number")
    return Requirement(key, sign, value)
