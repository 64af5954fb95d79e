"""Budgets in the pipeline: what queues is skipped, what is slow is made smaller, and a replay does the same again.

The camera, the models and the output are stand-ins whose speed the test decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import Recorder as Kept
from stand_ins import ToyBackend, ToySource, person_manifest
from test_recording import HEAD_OF_TOY

import edgeseg
from edgeseg.errors import UsageError
from edgeseg.manifest import Manifest
from edgeseg.runtime.budget import LATE
from edgeseg.runtime.effort import SKIPPED, Effort
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.recording import LINES, mask_digest, read_head
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sinks.recorder import Recorder
from edgeseg.runtime.sources.recorded import Recorded
from edgeseg.types import ClassInfo


class Small(ToyBackend):
    """A smaller model, that says the opposite: which model ran a frame shows in its mask."""

    def __init__(self, takes_s: float = 0.0, **fields: Any) -> None:
        super().__init__(person_manifest(**{"name": "small", "height": 16, "width": 16, **fields}), takes_s)

    def infer(self, inputs: Any) -> Any:
        outputs = super().infer(inputs)
        outputs["probability"][:] = 255 - outputs["probability"]
        return outputs


class Told(Effort):
    """Ages are not measured but told, by level: what a loaded machine adds decides nothing then."""

    def __init__(self, *args: Any, ages_ms: Sequence[float], **more: Any) -> None:
        super().__init__(*args, **more)
        self._told_ms = ages_ms

    def done(self, age_ms: float, alone_ms: float, place: int, now_s: float) -> None:
        assert 0 < alone_ms <= age_ms
        super().done(self._told_ms[place], 1.0, place, now_s)


def run(source: ToySource, effort: Effort, *sinks: Any, policy: str = "all") -> dict[str, Any]:
    """The report of a run with a budget; every frame is accounted for."""
    pipeline = Pipeline(source, effort.segmenters[0], sinks, policy, effort=effort)
    pipeline.start()
    pipeline.join()
    report = pipeline.stats.to_dict()
    assert report["frames_in"] == report["frames_out"] + report["dropped"] + report["skipped"] + report["failed"]
    json.dumps(report, allow_nan=False)
    return report


def test_skipping_frames_makes_results_younger_where_an_output_is_slow() -> None:
    """A result waits while the one before is written for 120 ms; with a frame every 120 ms it does not."""
    tries = []
    for _ in range(3):  # a machine that is busy may spoil one
        source, ages_ms = ToySource(75, fps=25.0, live=True), list[float]()

        class Noting(Effort):
            def done(self, age_ms: float, *rest: Any) -> None:
                ages_ms.append(age_ms)  # noqa: B023
                super().done(age_ms, *rest)

        report = run(source, Noting([Segmenter(ToyBackend())], source, 60.0), Kept(takes_s=0.12), policy="newest")
        assert report["skipped"] > 0 and report["budget"]["at_the_end"]["one_of"] >= 2
        tries.append((np.median(ages_ms[:LATE]), np.median(ages_ms[-5:])))
        if tries[-1][1] < 0.6 * tries[-1][0]:
            return
    raise AssertionError(f"ages before and after, in ms: {tries}")


def test_what_is_skipped_is_counted_and_told_and_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    skipped: list[tuple[int, str]] = []
    source, kept = ToySource(40, fps=500.0, live=True), Kept()
    effort = Told(
        [Segmenter(ToyBackend())],
        source,
        45.0,
        lambda frame, why: skipped.append((frame.number, why)),
        ages_ms=(90, 60, 30),
    )
    report = run(source, effort, kept)
    out, left = kept.numbers, [number for number, _ in skipped]
    assert sorted(out + left) == list(range(40)) and len(left) == report["skipped"]
    assert {why for _, why in skipped} == {SKIPPED}
    # All at first; at the end one of three.
    assert out[:LATE] == list(range(LATE)) and out[-1] - out[-2] == 3
    budget = report["budget"]
    assert budget["at_the_end"]["one_of"] == 3 and budget["changes"] == 2 and budget["held"] is True
    assert [row["one_of"] for row in budget["levels"]] == [1, 2, 3]
    assert [row["late"] for row in budget["levels"]][2] == 0 and budget["late"] >= 2 * LATE
    head = "budget of toy: results are {} ms old (p95, at most 45); from now on toy 32x32, 1 of {} frames\n"
    assert capsys.readouterr().err == head.format(90, 2) + head.format(60, 3)


def test_a_smaller_model_runs_where_the_first_is_slow(capsys: pytest.CaptureFixture[str]) -> None:
    kept, source = Kept(), ToySource(30, fps=500.0, live=True)
    effort = Told([Segmenter(ToyBackend(takes_s=0.02)), Segmenter(Small())], source, 80.0, ages_ms=(120, 40))
    report = run(source, effort, kept)
    models = [result.model for result in kept.results]
    # Six were late, up to two more on their way when that was known.
    assert LATE <= models.count(0) <= LATE + 2 and models == sorted(models) and len(models) == 30
    assert [int(result.probability[0, 0]) for result in kept.results] == [
        255 - result.frame_number if result.model else result.frame_number for result in kept.results
    ]
    budget = report["budget"]
    whole = [("toy", 32, 1), ("small", 16, 1)]
    assert [(row["model"], row["height"], row["one_of"]) for row in budget["levels"]] == whole
    assert sum(row["results"] for row in budget["levels"]) == report["frames_out"]
    assert budget["changes"] == 1 and report["skipped"] == 0 and budget["cannot"] is None
    assert capsys.readouterr().err.endswith("(p95, at most 80); from now on small 16x16, every frame\n")
    # Measured while it warmed up.
    costs = effort._controller.costs if effort._controller else ()
    assert costs[0] >= 20 > costs[1]


def test_what_cannot_be_held_is_said_once_and_skips_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    source = ToySource(20, fps=60.0, live=True)
    report = run(source, Effort([Segmenter(ToyBackend(takes_s=0.03))], source, 10.0))
    err = capsys.readouterr().err
    assert err.startswith("warning: budget of toy: 10 ms cannot be held: the model alone takes ")
    assert err.count("\n") == 1
    assert report["skipped"] == 0 and report["budget"]["held"] is False
    assert report["budget"]["cannot"].startswith("the model alone takes ")
    assert report["budget"]["late"] == report["frames_out"] == 20


def test_what_streams_wait_for_each_other_is_not_the_models_time() -> None:
    """Or a budget that skipping holds would be called one that cannot be held."""
    import threading

    segmenter = Segmenter(ToyBackend(takes_s=0.05))
    image = np.zeros((8, 8, 3), np.uint8)
    threads = [threading.Thread(target=segmenter, args=(image,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Its thread waited up to 250 ms for the others.
    assert 50 <= segmenter.busy_ms < 250


def test_the_budget_of_a_stream_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = Segmenter(ToyBackend(takes_s=0.02))
    source = ToySource(10, fps=60.0, live=True)
    assert len(list(edgeseg.stream(source, segmenter, max_age_ms=5, policy="all"))) == 10
    assert "5 ms cannot be held" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no age to hold"):
        next(edgeseg.stream(ToySource(3), segmenter, max_age_ms=5))


def test_without_a_budget_nothing_is_reported() -> None:
    source = ToySource(5, fps=100.0, live=True)
    assert "budget" not in run(source, Effort([Segmenter(ToyBackend())], source))


CHAIR = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "chair", (0, 0, 9)))


@pytest.mark.parametrize(
    ("source", "smaller", "told"),
    [
        (ToySource(3), (), "have no age to hold: toy. Leave the budget out"),
        (ToySource(3, live=True), (person_manifest(name="odd", classes=CHAIR),), "other classes than toy: odd (backgr"),
        (
            ToySource(3, live=True),
            (person_manifest(name="bare", outputs=("label_map",)),),
            "other outputs than toy: ba",
        ),
    ],
)
def test_budgets_that_mean_nothing(source: ToySource, smaller: Sequence[Manifest], told: str) -> None:
    segmenters = [Segmenter(ToyBackend(manifest)) for manifest in (person_manifest(), *smaller)]
    with pytest.raises(UsageError) as caught:
        Effort(segmenters, source, 50.0)
    assert told in str(caught.value)


def test_a_replay_skips_what_was_skipped_and_takes_the_same_models(tmp_path: Path) -> None:
    def models() -> list[Segmenter]:
        return [Segmenter(ToyBackend()), Segmenter(Small())]

    kept, recorder = Kept(), Recorder(tmp_path / "tape", HEAD_OF_TOY)
    source = ToySource(50, fps=500.0, live=True)
    effort = Told(models(), source, 40.0, recorder.skipped, ages_ms=(90, 70, 30))
    report = run(source, effort, kept, recorder)
    recorder.finish(report)
    counts = read_head(tmp_path / "tape").counts
    lines = [json.loads(line) for line in (tmp_path / "tape" / LINES).read_text().splitlines()]
    assert sorted(line["frame"] for line in lines) == list(range(50))
    assert sum(line["decision"] == "skipped" and line["why"] == SKIPPED for line in lines) == counts["skipped"] > 5
    assert {result.model for result in kept.results} == {0, 1}

    again, tape = Kept(), Recorded(f"replay:{tmp_path / 'tape'}")
    replayed = run(tape, Effort(models(), tape), again)  # type: ignore[arg-type]
    assert {name: replayed[name] for name in counts} == counts
    assert [result.model for result in again.results] == [result.model for result in kept.results]
    for before, after in zip(kept.results, again.results, strict=True):
        assert mask_digest(before) == mask_digest(after) == tape.masks[after.frame_number]

    alone = Pipeline(Recorded(f"replay:{tmp_path / 'tape'}"), models()[0])
    alone.start()
    with pytest.raises(UsageError, match="the recording used a smaller model"):
        alone.join()
