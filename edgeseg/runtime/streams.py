"""Several sources through one segmenter: a pipeline each, which queue for it with their newest frames."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from edgeseg.runtime import notices
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.stats import COUNTS


class Streams:
    """Pipelines that run side by side. What fails ends its own stream; the others go on.

    A frame is taken from its mailbox when its stream's turn has come, not before: it is fresh however many streams
    there are. A stream that has no frame does not queue, so a slow or dead one holds nobody up.

    Args:
        pipelines: not started yet, with one turnstile and one segmenter for all.
    """

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self.pipelines = tuple(pipelines)
        self._told: list[Pipeline] = []

    @property
    def stats(self) -> Streams:
        """Itself: `to_dict` and `counts` are those of all streams."""
        return self

    def start(self) -> None:
        """Start all of them and return at once."""
        for pipeline in self.pipelines:
            pipeline.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of all; False after `timeout_s` seconds."""
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        for pipeline in self.pipelines:
            if not pipeline.wait(None if ends is None else max(0.0, ends - time.monotonic())):
                self._tell(self.pipelines)
                return False
        return True

    def stop(self) -> None:
        """End all of them soon; see `Pipeline.stop`."""
        for pipeline in self.pipelines:
            pipeline.stop()

    def join(self) -> None:
        """Wait for the end of all; raises the first stream's error, and says those of others that were not said yet."""
        self.wait()
        failed = [pipeline for pipeline in self.pipelines if pipeline.error is not None]
        self._tell(failed[1:])
        for pipeline in failed[:1]:
            pipeline.join()

    def counts(self) -> dict[str, Any]:
        """Counts of all streams together; throughput_fps is the sum of theirs."""
        each = [pipeline.stats.counts() for pipeline in self.pipelines]
        rates = [counts["throughput_fps"] for counts in each if counts["throughput_fps"]]
        return {name: sum(counts[name] for counts in each) for name in COUNTS} | {"throughput_fps": sum(rates) or None}

    def to_dict(self) -> dict[str, Any]:
        """`counts()`, and under `streams` each stream's own report with the name of its source."""
        each = [{"source": p.source.name, **p.stats.to_dict()} for p in self.pipelines]
        return {**self.counts(), "streams": each}

    def _tell(self, pipelines: Iterable[Pipeline]) -> None:
        """Say once that a stream has failed; at once, since the end of the others may be days away."""
        for pipeline in pipelines:
            error = pipeline.error
            if error is not None and pipeline not in self._told:
                self._told.append(pipeline)
                notices.warn(f"{pipeline.source.name} has ended: {error}")
