"""How much work a frame gets: the model that runs it, or none. It follows a budget, or a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeseg.errors import UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime import notices
from edgeseg.runtime.budget import Change, Controller, Level, ladder
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sources.base import Source
from edgeseg.runtime.sources.recorded import Recorded
from edgeseg.types import Frame

SKIPPED = "to hold the budget"
COST_CALLS = 5


class Effort:
    """Which model runs each frame of one stream, and which frames none runs.

    One thread asks, another tells how old results are.

    Args:
        segmenters: the one that the user named, then smaller ones with the same classes.
        source: a live one where there is a budget; a recording says itself which model ran a frame.
        max_age_ms: the budget for the age of results; full effort always when None.
        on_skip: told of each frame that is skipped, and why; it must be quick.

    Raises:
        UsageError: a budget for a source whose frames have no age; smaller models of another kind.
    """

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        source: Source,
        max_age_ms: float | None = None,
        on_skip: Callable[[Frame, str], None] | None = None,
    ) -> None:
        self.segmenters, self._source, self._on_skip = tuple(segmenters), source, on_skip
        for smaller in self.segmenters[1:]:
            check_alike(self.segmenters[0].manifest, smaller.manifest)
        self._controller: Controller | None = None
        self._passed = 0  # frames since one was inferred
        self._changes = 0
        self._cannot: str | None = None
        if max_age_ms is not None:
            check_budget(source)
            self._controller = Controller(max_age_ms, ladder(len(self.segmenters)))
            # By level: results, and how many of them were older than the budget.
            self._tally = [[0, 0] for _ in self._controller.levels]

    @property
    def limited(self) -> bool:
        """Whether there is a budget."""
        return self._controller is not None

    def warm_up(self) -> None:
        """Warm every model up; where a budget chooses between them, measure what each costs."""
        for segmenter in self.segmenters:
            segmenter.warm_up()
        if self._controller is not None and len(self.segmenters) > 1:
            self._controller.costs = [_cost_ms(segmenter) for segmenter in self.segmenters]

    def skips(self) -> bool:
        """Whether the next frame is left out."""
        if self._controller is None:
            return False
        self._passed += 1
        if self._passed < self._controller.levels[self._controller.place].every:
            return True
        self._passed = 0
        return False

    def skipped(self, frame: Frame) -> None:
        """Note what was left out."""
        if self._on_skip is not None:
            self._on_skip(frame, SKIPPED)

    def choose(self, frame: Frame) -> tuple[int, int]:
        """(place in `segmenters`, level) for a frame; the level is for `done`.

        Raises:
            UsageError: a recorded frame was run by a model that is not here.
        """
        if isinstance(self._source, Recorded):
            model = self._source.models[frame.number]
            if model >= len(self.segmenters):
                seen = f"frame {frame.number}, model {model} of {len(self.segmenters)}"
                raise UsageError("the recording used a smaller model", seen, "Give all models that it was made with")
            return model, 0
        if self._controller is None:
            return 0, 0
        place = self._controller.place
        return self._controller.levels[place].model, place

    def done(self, age_ms: float, alone_ms: float, place: int, now_s: float) -> None:
        """One more result, as for `Controller.add`; a change is said on stderr."""
        if self._controller is None:
            return
        self._tally[place][0] += 1
        self._tally[place][1] += age_ms > self._controller.max_age_ms
        change = self._controller.add(age_ms, alone_ms, place, now_s)
        if change is not None:
            self._changes += change.now != change.before
            self._tell(change, self._controller)

    def report(self) -> dict[str, Any] | None:
        """What --stats says of the budget; None without one.

        `held`: whether the 95th percentile of the last results is within it; None where nothing came since the last
        change. `cannot`: why it cannot be held, None while it can. `levels`: where there were results.
        """
        controller = self._controller
        if controller is None:
            return None
        age_ms = controller.age_ms()
        rows = [
            {**self._row(level), "results": results, "late": late}
            for level, (results, late) in zip(controller.levels, self._tally, strict=True)
            if results
        ]
        return {
            "max_age_ms": controller.max_age_ms,
            "held": None if age_ms is None else age_ms <= controller.max_age_ms,
            "cannot": self._cannot,
            "late": sum(late for _, late in self._tally),
            "changes": self._changes,
            "at_the_end": self._row(controller.levels[controller.place]),
            "levels": rows,
        }

    def _row(self, level: Level) -> dict[str, Any]:
        manifest = self.segmenters[level.model].manifest
        size = {"height": manifest.height, "width": manifest.width}
        return {"model": manifest.name, **size, "one_of": level.every}

    def _tell(self, change: Change, controller: Controller) -> None:
        words = self._words(controller.levels[change.now])
        head = f"budget of {self._source.name}:"
        if change.held:
            self._cannot = None
            if change.now == change.before:
                notices.info(f"{head} {controller.max_age_ms:g} ms are held again, with {words}")
            else:
                old = f"results are {change.age_ms:.0f} ms old (p95, at most {controller.max_age_ms:g})"
                notices.info(f"{head} {old}; from now on {words}")
            return
        why = f"results are {change.age_ms:.0f} ms old (p95)"
        if change.alone:
            why = f"the model alone takes {change.alone_ms:.0f} ms (p95)"
        self._cannot = f"{why} with {words}"
        notices.warn(f"{head} {controller.max_age_ms:g} ms cannot be held: {self._cannot}")

    def _words(self, level: Level) -> str:
        manifest = self.segmenters[level.model].manifest
        frames = "every frame" if level.every == 1 else f"1 of {level.every} frames"
        return f"{manifest.name} {manifest.height}x{manifest.width}, {frames}"


def _cost_ms(segmenter: Segmenter) -> float:
    """The shortest of some inferences: what else runs now makes them longer."""
    manifest = segmenter.manifest
    image = np.full((manifest.output_height, manifest.output_width, 3), 127, np.uint8)
    times_ms = []
    for _ in range(COST_CALLS):
        segmenter(image)
        times_ms.append(segmenter.busy_ms)
    return max(min(times_ms), 1e-3)


def check_budget(source: Source) -> None:
    """Raise UsageError for a budget on a source whose frames have no age."""
    if not source.live:
        todo = "Leave the budget out: it is for cameras and streams, a file waits"
        raise UsageError("frames of this source have no age to hold", source.name, todo)


def check_alike(first: Manifest, smaller: Manifest) -> None:
    """Raise UsageError where the outputs of a smaller model could not stand for those of the first."""
    if smaller.class_names != first.class_names:
        seen = f"{smaller.name} ({', '.join(smaller.class_names)})"
        todo = f"Give one with the classes {', '.join(first.class_names)}"
        raise UsageError(f"the smaller model has other classes than {first.name}", seen, todo)
    if (smaller.task, smaller.two_class) != (first.task, first.two_class):
        seen = f"{smaller.name} ({smaller.task}, outputs {', '.join(smaller.outputs)})"
        raise UsageError(f"the smaller model has other outputs than {first.name}", seen, "Give one of the same kind")
