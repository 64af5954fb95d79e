"""`--max-age-ms` and `--smaller`: the checks before a run with a budget, and the models that it may turn to."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sources import Source


def check(args: argparse.Namespace, sources: Sequence[Source]) -> None:
    """Raise UsageError for a budget that means nothing; before models are loaded, which takes longer."""
    from edgeseg.runtime.effort import check_budget
    from edgeseg.runtime.sources.recorded import Recorded

    for camera, source in zip(args.sources, sources, strict=True):
        if camera.max_age_ms is not None:
            check_budget(source)
    asked = any(camera.max_age_ms is not None for camera in args.sources)
    if args.smaller and not asked and not isinstance(sources[0], Recorded):
        raise UsageError("--smaller is for a budget", " ".join(args.smaller), "Give --max-age-ms, too")


def open_smaller(args: argparse.Namespace, segmenter: Segmenter, stack: contextlib.ExitStack) -> list[Segmenter]:
    """The models of --smaller, on the backend of the first; errors as `open_segmenter`, and as `check_alike`.

    One that ships has the precision of the first, a file its own.
    """
    from edgeseg.runtime.effort import check_alike
    from edgeseg.runtime.segmenter import manifest_of, open_segmenter
    from edgeseg.runtime.zoo import find_model

    chosen = segmenter.choice.precision if segmenter.choice else segmenter.manifest.precision
    batch = segmenter.batcher.size if segmenter.batcher is not None else 1
    opened: list[Segmenter] = []
    for model in args.smaller or ():
        check_alike(segmenter.manifest, manifest_of(model))
        smaller = open_segmenter(
            model,
            segmenter.backend.name,
            chosen if find_model(model).from_zoo else "auto",
            args.device,
            args.threshold,
            args.rebuild,
            batch,
            args.batch_deadline_ms,
        )
        opened.append(stack.enter_context(smaller))
    return opened


def line(report: Mapping[str, Any]) -> str:
    """The table's line on one stream's budget."""
    results = sum(row["results"] for row in report["levels"])
    text = f"budget {report['max_age_ms']:g} ms: {results - report['late']} of {results} results in time"
    text += f", {report['changes']} changes"
    return text + (f"; cannot be held: {report['cannot']}" if report["cannot"] else "")
