"""Holds the age of results to a budget: told how old they are, it says how much work a frame may cost.

Pure: what it answers depends on what it was told, times included, and on nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# The 95th percentile of 100 is above a limit when 6 of them are: a lasting overload is seen after 6 results, and a
# pause of the machine, which makes one or two late, is not taken for one.
WINDOW, LATE = 100, 6
# Going up wants this share of the budget, for so long; and so many results, since time alone says nothing.
MARGIN, CALM_S, CALM_RESULTS = 0.8, 5.0, 20
# An attempt to go up that fails within this time doubles the next wait, up to the second.
PROBATION_S, WAIT_AT_MOST_S = 120.0, 600.0
# Longer without a result, and what was before says nothing about now.
GAP_S = 2.0
EVERY = (2, 3, 4, 6, 8)


@dataclass(frozen=True, slots=True)
class Level:
    """How much work is done.

    Attributes:
        model: place in the row of models, from the one that the user named (0) to the smallest.
        every: of so many frames one is inferred, the others are skipped.
    """

    model: int
    every: int = 1


def ladder(models: int) -> tuple[Level, ...]:
    """From full effort down: smaller models first, with which each frame still gets a mask, then fewer frames."""
    return (*(Level(model) for model in range(models)), *(Level(models - 1, every) for every in EVERY))


@dataclass(frozen=True, slots=True)
class Change:
    """What the controller has decided.

    Attributes:
        before, now: places in the ladder; the same where only `held` changes.
        age_ms: 95th percentile of the ages that led to it.
        alone_ms: the same of what a frame takes where it waits for nobody.
        held: False when there is nothing left to do and results are older than the budget.
        alone: they would be if no frame waited for another: skipping frames cannot help.
    """

    before: int
    now: int
    age_ms: float
    alone_ms: float
    held: bool
    alone: bool


class _Window:
    """The last values, and how many of them are above each of some limits."""

    def __init__(self, *limits: float) -> None:
        self.values: deque[float] = deque()
        self._limits = limits
        self._above = [0] * len(limits)

    def add(self, value: float) -> None:
        self.values.append(value)
        self._count(value, 1)
        if len(self.values) > WINDOW:
            self._count(self.values.popleft(), -1)

    def exceeds(self, limit: float) -> bool:
        """Whether the 95th percentile of a full window is above the limit, or will be when the window is full."""
        return self._above[self._limits.index(limit)] >= LATE

    def clear(self) -> None:
        self.values.clear()
        self._above = [0] * len(self._limits)

    def _count(self, value: float, by: int) -> None:
        for place, limit in enumerate(self._limits):
            self._above[place] += by * (value > limit)


class Controller:
    """Goes down a level when results get too old, and up again later, ever more slowly if that was too early.

    Down: when the 95th percentile of the last 100 results of this level is above the budget. Up: when it has been below
    0.8 of the budget for `wait_s`, at first 5 s. A try to go up that fails within 2 minutes, or `wait_s`, doubles
    `wait_s`, to 10 minutes at most, and one that lasts halves it: under a load that does not change, changes get rare.
    A larger model that would be too slow, by what it costs, is tried only after 10 minutes. Where the model alone takes
    longer than the budget, frames are not skipped for nothing.

    Args:
        max_age_ms: the budget, from capture to the hand-over to the sinks.
        levels: by `ladder`, or in its manner.

    Attributes:
        costs: of each model, in any unit: how many times longer one takes than another. Equal until somebody knows.
        place: the level to work at, a place in `levels`.
        held: False while there is nothing left to do and results are too old.
    """

    def __init__(self, max_age_ms: float, levels: Sequence[Level]) -> None:
        self.max_age_ms, self.levels = max_age_ms, tuple(levels)
        self.costs: Sequence[float] = [1.0] * (1 + max(level.model for level in levels))
        self.place = 0
        self.held = True
        self.wait_s = CALM_S
        self._smallest = min(place for place, level in enumerate(levels) if level.model == levels[-1].model)
        self._alone = False  # why it is not held
        self._roomy_ms = MARGIN * max_age_ms
        self._ages, self._alones = (_Window(max_age_ms, self._roomy_ms) for _ in range(2))
        self._last_s = self._calm_since_s = self._held_since_s = float("-inf")
        self._better_s: float | None = None  # when it last went up, while that may still prove wrong

    def add(self, age_ms: float, alone_ms: float, place: int, now_s: float) -> Change | None:
        """One more result.

        Args:
            age_ms: from its frame's capture to now.
            alone_ms: what its frame would have taken had it not waited for anything: pre-, postprocessing, inference.
            place: the level at which its frame was taken; one of before the last change is not counted.
            now_s: of a monotonic clock.

        Returns:
            What changes from now on; None for nothing.
        """
        if place != self.place:
            return None
        if now_s - self._last_s > GAP_S:
            self._calm_since_s = self._held_since_s = now_s
        self._last_s = now_s
        self._ages.add(age_ms)
        self._alones.add(alone_ms)
        if self._ages.exceeds(self.max_age_ms):
            self._calm_since_s = self._held_since_s = now_s
            return self._down(now_s)
        if self._ages.exceeds(self._roomy_ms):
            self._calm_since_s = now_s
        return self._up(now_s)

    def age_ms(self) -> float | None:
        """95th percentile of the last results of this level; None without any."""
        return percentile95(self._ages.values) if self._ages.values else None

    def _down(self, now_s: float) -> Change | None:
        alone = self._alones.exceeds(self.max_age_ms)
        if not self.held:
            # Said already. It only matters whether skipping frames has become of use, or useless.
            quick = len(self._alones.values) >= CALM_RESULTS and not self._alones.exceeds(self._roomy_ms)
            if not (quick if self._alone else alone):
                return None
        if self._better_s is not None and now_s - self._better_s < max(self.wait_s, PROBATION_S):
            self.wait_s = min(2 * self.wait_s, WAIT_AT_MOST_S)
        self._better_s = None
        if alone and self.place >= self._smallest:
            return self._change(self._smallest, False, True, now_s)
        if self.place == len(self.levels) - 1:
            return self._change(self.place, False, False, now_s)
        return self._change(self.place + 1, True, False, now_s)

    def _up(self, now_s: float) -> Change | None:
        survived = self._better_s is not None and now_s - self._better_s >= max(self.wait_s, PROBATION_S)
        if survived:
            self.wait_s, self._better_s = max(CALM_S, self.wait_s / 2), None
        if len(self._ages.values) < CALM_RESULTS:
            return None
        calm_s = now_s - self._calm_since_s
        if self.place and calm_s >= self.wait_s and (calm_s >= WAIT_AT_MOST_S or self._would_fit(self.place - 1)):
            self._better_s = now_s
            return self._change(self.place - 1, True, False, now_s)
        if not self.held and now_s - self._held_since_s >= self.wait_s:
            self._better_s = now_s
            return self._change(self.place, True, False, now_s)
        return None

    def _would_fit(self, place: int) -> bool:
        """Whether results would be young enough with the model of that level, as far as costs tell."""
        more = self.costs[self.levels[place].model] / self.costs[self.levels[self.place].model] - 1
        return percentile95(self._ages.values) + more * percentile95(self._alones.values) <= self.max_age_ms

    def _change(self, place: int, held: bool, alone: bool, now_s: float) -> Change:
        age_ms, alone_ms = percentile95(self._ages.values), percentile95(self._alones.values)
        change = Change(self.place, place, age_ms, alone_ms, held, alone)
        if place != self.place:
            # What comes now is of another kind.
            self._ages.clear()
            self._alones.clear()
        self.place, self.held, self._alone = place, held, alone
        self._calm_since_s = self._held_since_s = now_s
        return change


def percentile95(values: Iterable[float]) -> float:
    """The lowest of the values that 5 % or less of them are above."""
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]
