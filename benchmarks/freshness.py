"""How old results are where a camera is faster than the model: nothing may queue up, nothing may pile up in memory.

A part of pipeline_cost.py. The camera is synthetic and the backend slowed by sleeping; the pipeline, its mailbox and
its stages are the real ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from common import tell

from edgeseg.runtime.backends.base import Arrays, Backend
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sources import open_source

SIZE = "1280x720"
GROWTH = 0.02
POLL_S = 0.1


@dataclass(frozen=True)
class Case:
    """A camera's rate, what an inference takes, and the limits of both ages' 95th percentiles."""

    fps: int
    takes_ms: float
    age_taken_p95_ms: float
    frame_age_p95_ms: float


CASES = (Case(100, 25.0, 13.0, 41.0), Case(60, 50.0, 20.0, 73.0))


class SlowedBackend(Backend):
    """A backend that takes at least `takes_s` for every inference, the rest of it asleep."""

    def __init__(self, inner: Backend, takes_s: float) -> None:
        self._inner, self._takes_s = inner, takes_s
        self.name, self.device = inner.name, inner.device
        self.manifest, self.details = inner.manifest, inner.details

    def infer(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        ends = time.perf_counter() + self._takes_s
        outputs = self._inner.infer(inputs)
        time.sleep(max(0.0, ends - time.perf_counter()))
        return outputs

    def close(self) -> None:
        self._inner.close()


def measure_freshness(segmenter: Segmenter, case: Case, seconds: float) -> dict[str, Any]:
    """Ages, counts and memory of one case; memory is compared after a quarter of the time and at the end."""
    tell(f"freshness: a camera of {case.fps} fps, a backend of {case.takes_ms:g} ms")
    slowed = Segmenter(SlowedBackend(segmenter.backend, case.takes_ms / 1e3))
    with open_source(f"synthetic:{SIZE}@{case.fps}", max_frames=round(case.fps * seconds)) as source:
        pipeline = Pipeline(source, slowed)
        with Memory() as memory:
            pipeline.start()
            pipeline.join()
    stats = pipeline.stats.to_dict()
    met = {
        "age_taken": stats["age_taken"]["p95_ms"] <= case.age_taken_p95_ms,
        "frame_age": stats["frame_age"]["p95_ms"] <= case.frame_age_p95_ms,
        "counts": stats["frames_in"] == stats["frames_out"] + stats["dropped"]
        and stats["skipped"] == stats["failed"] == 0,
        "memory": memory.grown <= GROWTH,
    }
    found = {"case": asdict(case), "stats": stats, "memory_mb": [memory.early_mb, memory.late_mb]}
    return found | {"met_each": met, "met": all(met.values())}


class Memory:
    """This process' resident memory while a block runs."""

    def __enter__(self) -> Memory:
        self._seen: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        part = max(1, len(self._seen) // 20)
        self.early_mb = _middle(self._seen[len(self._seen) // 4 :][:part])
        self.late_mb = _middle(self._seen[-part:])
        self.grown = self.late_mb / self.early_mb - 1

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S) or not self._seen:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            self._seen.append(int(status.partition("VmRSS:")[2].split()[0]) / 1e3)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def sentence(found: dict[str, Any]) -> str:
    """One case in words."""
    case, stats = Case(**found["case"]), found["stats"]
    taken, aged = (stats[age]["p95_ms"] for age in ("age_taken", "frame_age"))
    counts = f"{stats['frames_in']} frames in = {stats['frames_out']} out + {stats['dropped']} dropped"
    early, late = found["memory_mb"]
    return (
        f"a camera of {case.fps} fps and a backend of {case.takes_ms:g} ms: age_taken p95 {taken:.1f} ms (at most "
        f"{case.age_taken_p95_ms:g}), frame_age p95 {aged:.1f} ms (at most {case.frame_age_p95_ms:g}); {counts}; "
        f"memory {100 * (late / early - 1):+.1f} %"
    )
