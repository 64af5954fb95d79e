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
from edgeseg.types import ClassInfo, Frame


class Small(ToyBackend):
    """A smaller model, that says the opposite: which model ran a frame shows in its mask."""

    def __init__(self, takes_s: float = 0.0, **fields: Any) -> None:
        super().__init__(person_manifest(**{"name": "small", "height": 16, "width": 16, **fields}), takes_s)

    def infer(self, inputs: Any) -> Any:
        outputs = super().infer(inputs)
        outputs["probability"][:] = 255 - outputs["probability"]
        return outputs


def run(source: ToySource, effort: Effort, *sinks: Any) -> dict[str, Any]:
    """The report of a run with a budget; every frame is accounted for."""
    pipeline = Pipeline(source, effort.segmenters[0], sinks, effort=effort)
    pipeline.start()
    pipeline.join()
    report = pipeline.stats.to_dict()
    assert report["frames_in"] == report["frames_out"] + report["dropped"] + report["skipped"] + report["failed"]
    return report


def test_frames_are_skipped_where_an_output_is_slow(capsys: pytest.CaptureFixture[str]) -> None:
    """A result waits while the one before is written for 60 ms; with a frame every 60 ms it does not."""
    skipped: list[tuple[Frame, str]] = []
    source, ages_ms = ToySource(350, fps=100.0, live=True), list[float]()
    effort = Effort([Segmenter(ToyBackend(takes_s=0.005))], source, 45.0, lambda *told: skipped.append(told))
    done = effort.done

    def noted(age_ms: float, *rest: Any) -> None:
        ages_ms.append(age_ms)
        done(age_ms, *rest)

    effort.done = noted  # type: ignore[method-assign]
    report = run(source, effort, Kept(takes_s=0.06))
    budget = report["budget"]
    assert len(skipped) == report["skipped"] > 20 and {why for _, why in skipped} == {SKIPPED}
    assert budget["at_the_end"]["one_of"] >= 3 and budget["cannot"] is None
    assert np.median(ages_ms[-10:]) < 0.7 * np.median(ages_ms[:LATE])
    # Each change is one line.
    err = capsys.readouterr().err
    assert err.count("\n") == err.count("budget of toy: results are") == budget["changes"] >= 2
    assert "1 of 2 frames" in err.splitlines()[0]
    json.dumps(report, allow_nan=False)


def test_a_smaller_model_runs_where_the_first_is_slow(capsys: pytest.CaptureFixture[str]) -> None:
    kept, source = Kept(), ToySource(120, fps=60.0, live=True)
    effort = Effort([Segmenter(ToyBackend(takes_s=0.12)), Segmenter(Small(takes_s=0.001))], source, 80.0)
    report = run(source, effort, kept)
    models = [result.model for result in kept.results]
    # The first six are late, two more were on their way; what is small stays, as the first costs many times more.
    assert LATE <= models.count(0) <= LATE + 2 and models == sorted(models) and models[-1] == 1
    assert [int(result.probability[0, 0]) for result in kept.results] == [
        255 - result.frame_number if result.model else result.frame_number for result in kept.results
    ]
    budget = report["budget"]
    assert [(row["model"], row["height"], row["one_of"]) for row in budget["levels"]] == [
        ("toy", 32, 1),
        ("small", 16, 1),
    ]
    assert sum(row["results"] for row in budget["levels"]) == report["frames_out"]
    assert budget["late"] >= LATE and budget["changes"] == 1 and report["skipped"] == 0
    assert budget["max_age_ms"] == 80.0 and budget["cannot"] is None
    assert capsys.readouterr().err.endswith("(p95, at most 80); from now on small 16x16, every frame\n")


def test_what_cannot_be_held_is_said_once_and_skips_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    source = ToySource(60, fps=60.0, live=True)
    report = run(source, Effort([Segmenter(ToyBackend(takes_s=0.03))], source, 10.0))
    err = capsys.readouterr().err
    assert (
        err.startswith("warning: budget of toy: 10 ms cannot be held: the model alone takes ") and err.count("\n") == 1
    )
    assert report["skipped"] == 0 and report["budget"]["held"] is False
    assert report["budget"]["cannot"].startswith("the model alone takes ")
    assert report["budget"]["late"] == report["frames_out"]


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
    # The last one waited 250 ms for the others.
    assert 50 <= segmenter.busy_ms < 200


def test_the_budget_of_a_stream_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = Segmenter(ToyBackend(takes_s=0.02))
    source = ToySource(30, fps=60.0, live=True)
    assert len(list(edgeseg.stream(source, segmenter, max_age_ms=5))) > LATE
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
        return [Segmenter(ToyBackend(takes_s=0.05)), Segmenter(Small(takes_s=0.005))]

    # Small helps, and then the recording and the slow output behind it queue.
    kept, recorder = Kept(takes_s=0.06), Recorder(tmp_path / "tape", HEAD_OF_TOY)
    source = ToySource(250, fps=100.0, live=True)
    effort = Effort(models(), source, 40.0, recorder.skipped)
    pipeline = Pipeline(source, effort.segmenters[0], [kept, recorder], on_drop=recorder.dropped, effort=effort)
    pipeline.start()
    pipeline.join()
    recorder.finish(pipeline.stats.counts())
    counts = read_head(tmp_path / "tape").counts
    lines = [json.loads(line) for line in (tmp_path / "tape" / LINES).read_text().splitlines()]
    assert sorted(line["frame"] for line in lines) == list(range(250))
    assert sum(line["decision"] == "skipped" and line["why"] == SKIPPED for line in lines) == counts["skipped"] > 0
    assert {result.model for result in kept.results} == {0, 1}

    again, tape = Kept(), Recorded(f"replay:{tmp_path / 'tape'}")
    pipeline = Pipeline(tape, models()[0], [again], effort=Effort(models(), tape))
    pipeline.start()
    pipeline.join()
    assert {name: pipeline.stats.counts()[name] for name in counts} == counts
    assert [result.model for result in again.results] == [result.model for result in kept.results]
    for before, after in zip(kept.results, again.results, strict=True):
        assert mask_digest(before) == mask_digest(after) == tape.masks[after.frame_number]

    alone = Pipeline(Recorded(f"replay:{tmp_path / 'tape'}"), models()[0])
    alone.start()
    with pytest.raises(UsageError, match="the recording used a smaller model"):
        alone.join()
