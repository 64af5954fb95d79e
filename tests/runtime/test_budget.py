"""The controller on traces: quick when results get too old, slow to trust, and steady under noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeseg.runtime.budget import (
    CALM_S,
    EVERY,
    LATE,
    WAIT_AT_MOST_S,
    WINDOW,
    Change,
    Controller,
    Level,
    ladder,
    percentile95,
)

FPS = 30.0
# Age and what the model takes alone, in milliseconds, at a level and a moment in seconds.
Plant = Callable[[Level, float], tuple[float, float]]


class Trace:
    """Frames of a camera through a plant, as the pipeline would tell the controller of them."""

    def __init__(self, *costs: float, fps: float = FPS) -> None:
        self.controller = Controller(50.0, ladder(len(costs) or 1))
        self.controller.costs = costs or (1.0,)
        self.changes: list[tuple[float, Change]] = []
        self.ages: list[float] = []
        self.now_s, self._fps = 1000.0, fps
        self._passed = 0

    def run(self, plant: Plant, seconds: float) -> list[Change]:
        """What changes meanwhile."""
        before, ends_s = len(self.changes), self.now_s + seconds
        while self.now_s < ends_s:
            self.now_s += 1 / self._fps
            level = self.controller.levels[self.controller.place]
            self._passed += 1
            if self._passed < level.every:
                continue
            self._passed = 0
            age_ms, alone_ms = plant(level, self.now_s)
            self.ages.append(age_ms)
            change = self.controller.add(age_ms, alone_ms, self.controller.place, self.now_s)
            if change is not None:
                self.changes.append((self.now_s, change))
        return [change for _, change in self.changes[before:]]

    @property
    def level(self) -> Level:
        return self.controller.levels[self.controller.place]


def model_bound(*alone_ms: float) -> Plant:
    """Nothing queues: the age is what the model takes."""
    return lambda level, _: (alone_ms[level.model] + 1, alone_ms[level.model])


def queue_bound(output_ms: float, alone_ms: float = 20.0) -> Plant:
    """A slow output: a result waits while the one before is written, unless frames come more rarely than that."""
    return lambda level, _: (alone_ms + max(0.0, output_ms - level.every * 1e3 / FPS), alone_ms)


def test_the_ladder_has_smaller_models_first() -> None:
    assert ladder(1) == (Level(0), *(Level(0, every) for every in EVERY))
    assert ladder(3)[:4] == (Level(0), Level(1), Level(2), Level(2, 2))


@pytest.mark.parametrize("count", [1, 5, 6, 20, 99, 100])
def test_the_rule_of_six_is_the_95th_percentile(count: int) -> None:
    """What the controller goes by can be looked up in the window's own percentile."""
    rng = np.random.default_rng(count)
    for _ in range(200):
        values = rng.uniform(40, 60, count).tolist()
        late = sum(value > 50 for value in values)
        if count == WINDOW:
            assert (percentile95(values) > 50) == (late >= LATE)
        elif late >= LATE:
            assert percentile95(values) > 50


def test_a_lasting_overload_is_answered_at_once_and_a_load_that_ends_is_forgotten() -> None:
    trace = Trace(30, 15)
    assert trace.run(model_bound(30, 15), 60) == []
    started_s = trace.now_s
    down = trace.run(model_bound(70, 35), 120)
    # No try meanwhile: the larger model would take twice 35 ms.
    assert [(change.before, change.now, change.held) for change in down] == [(0, 1, True)]
    assert trace.changes[0][0] - started_s <= (LATE + 1) / FPS
    assert down[0].age_ms > 50
    started_s = trace.now_s
    up = trace.run(model_bound(30, 15), 60)
    assert [(change.before, change.now) for change in up] == [(1, 0)]
    # The window has to become clean first; until then nothing is calm.
    assert trace.changes[-1][0] - started_s <= CALM_S + WINDOW / FPS + 1


def test_frames_are_skipped_until_the_queue_is_gone_and_no_more() -> None:
    trace = Trace()
    trace.run(queue_bound(output_ms=90), 4)
    # 90 ms are 2.7 frames apart: with every second one a result still waits 23 ms, which the budget allows.
    assert trace.level == Level(0, 2)
    assert all(age <= 50 for age in trace.ages[LATE:])


@pytest.mark.parametrize("knows", [True, False])
def test_under_a_load_that_lasts_tries_get_rare(knows: bool) -> None:
    # Without knowing what the models cost, too: as with an output that is slow.
    trace = Trace(*((3, 1) if knows else (1, 1)), fps=10)
    trace.run(model_bound(60, 20), 3600)
    first = [now_s for now_s, _ in trace.changes if now_s < 1000 + 600]
    later = [now_s for now_s, _ in trace.changes if now_s > 1000 + 1800]
    # Each try is two changes: up, and after six results down.
    assert len(first) <= (1 if knows else 16) and 2 <= len(later) <= 8
    assert sum(age > 50 for age in trace.ages) / len(trace.ages) < 0.002
    # And when it has ended, that is found out, though late.
    trace.run(model_bound(25, 20), WAIT_AT_MOST_S + 60)
    assert trace.level == Level(0)


@pytest.mark.parametrize("seed", range(2))
def test_noise_below_the_budget_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trace = Trace(30, 15)
    # Mean 30, 8 of spread: above 50 about 6 in a thousand.
    assert trace.run(lambda level, _: (float(rng.normal(30, 8)), 25.0), 300) == []


def test_pauses_of_the_machine_change_nothing() -> None:
    trace = Trace(30, 15)
    # Every 5 s two results in a row are late, by much.
    assert trace.run(lambda _, now_s: (30.0 + 400 * (now_s % 5 < 2 / FPS), 25.0), 120) == []


@pytest.mark.parametrize("mean_ms", [42, 50])
def test_noise_at_the_budget_does_not_flap(mean_ms: float) -> None:
    """The worst case: at full effort 2 or 50 of 100 are late, and the level below is always good."""
    rng = np.random.default_rng(int(mean_ms))
    trace = Trace(1, 1, fps=10)
    trace.run(lambda level, _: (float(rng.normal((mean_ms, 20)[level.model], 4)), 19.0), 3600)
    assert 2 <= len(trace.changes) <= 60
    # Less than one a minute, whatever the luck.
    assert sum(now_s > 1000 + 2700 for now_s, _ in trace.changes) <= 15


def test_a_ramp_up_and_down_is_followed_step_by_step() -> None:
    trace = Trace(30, 15, 7)
    started_s = trace.now_s

    def plant(level: Level, now_s: float) -> tuple[float, float]:
        load = 1 + 5 * (1 - abs((now_s - started_s) / 120 - 1))  # 1 to 6 and back in four minutes
        alone_ms = (30, 15, 7)[level.model] * load
        return alone_ms + 2, alone_ms

    trace.run(plant, 120)
    assert trace.level == Level(2)
    trace.run(plant, 180)
    assert trace.level == Level(0)
    assert len(trace.changes) <= 16
    assert sum(age > 50 for age in trace.ages) / len(trace.ages) < 0.02


def test_where_the_model_alone_is_too_slow_that_is_said_once_and_nothing_is_skipped() -> None:
    trace = Trace(30, 15)
    changes = trace.run(model_bound(80, 61), 120)
    assert [(change.now, change.held, change.alone) for change in changes] == [(1, True, False), (1, False, True)]
    assert changes[1].alone_ms == 61
    assert trace.level == Level(1)
    assert not trace.controller.held
    # The model gets quicker (a device that cools down): held again, and said once.
    again = trace.run(model_bound(55, 40), 60)
    assert [(change.now, change.held) for change in again] == [(1, True)]
    assert trace.controller.held


def test_where_skipping_is_not_enough_that_is_said_once_and_it_stays_at_the_bottom() -> None:
    trace = Trace()
    changes = trace.run(queue_bound(output_ms=900), 120)
    assert [change.now for change in changes] == [1, 2, 3, 4, 5, 5]
    assert [change.held for change in changes] == [True] * 5 + [False]
    assert not changes[-1].alone
    # Now the model is too slow as well: skipping has no more use.
    changes = trace.run(queue_bound(output_ms=900, alone_ms=60), 120)
    assert [(change.now, change.held, change.alone) for change in changes] == [(0, False, True)]
    # And it has again.
    changes = trace.run(queue_bound(output_ms=100), 60)
    assert trace.controller.held and trace.level.every == 3
    assert len(changes) <= 10


def test_results_of_before_a_change_do_not_count() -> None:
    controller = Controller(50.0, ladder(1))
    for place in range(LATE):
        change = controller.add(70.0, 20.0, 0, place / FPS)
    assert change is not None and controller.place == 1
    # Three were on their way still, and they are late.
    assert [controller.add(70.0, 20.0, 0, 1.0) for _ in range(20)] == [None] * 20
    assert controller.age_ms() is None


def test_a_time_without_results_proves_nothing() -> None:
    trace = Trace()
    trace.run(queue_bound(output_ms=90), 3)
    assert trace.level == Level(0, 2)
    trace.now_s += 3600  # the camera was away
    assert trace.run(queue_bound(output_ms=90), CALM_S - 0.5) == []


def test_the_same_trace_gives_the_same_changes() -> None:
    def once() -> list[tuple[float, Change]]:
        rng = np.random.default_rng(7)
        trace = Trace(30, 15)
        trace.run(lambda level, _: (float(rng.normal(46, 6)), 30.0), 300)
        return trace.changes

    assert once() == once() != []
