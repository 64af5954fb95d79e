"""What `edgeseg run` does around a pipeline: outputs, signals, progress, and the figures at the end."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.instance_masks import paint

if TYPE_CHECKING:
    from edgeseg.runtime.pipeline import Pipeline
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sinks import Sink
    from edgeseg.runtime.sources import Source
    from edgeseg.types import ClassInfo, Result

PROGRESS_EVERY_S = 0.25
SPANS = ("preprocess", "inference", "postprocess", "sinks", "age_taken", "frame_age")


class Signals:
    """While active, the first SIGINT or SIGTERM sets `stopped`, the second ends the process at once.

    A thread of its own reads them from a pipe that the interpreter writes to: the second one must work, too, while the
    main thread hangs in foreign code, where Python runs no handlers. Outside the main thread, where handlers cannot be
    set, it does nothing.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="edgeseg-signals", daemon=True)
        # Undone from the last to the first: closing the writer ends the watcher.
        self._undo.callback(os.close, reader)
        self._undo.callback(watcher.join)
        self._undo.callback(os.close, writer)
        self._undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        for number in (signal.SIGINT, signal.SIGTERM):
            self._undo.callback(signal.signal, number, signal.signal(number, lambda *_: None))
        watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _watch(self, reader: int) -> None:
        while received := os.read(reader, 1):
            if received[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            if self.stopped.is_set():
                # A stage hangs or the user is in a hurry: no clean-up, and the exit code of a death by this signal.
                os.write(2, b"error: aborted by a second signal. Outputs may be incomplete.\n")
                os._exit(128 + received[0])
            self.stopped.set()


class OnlyClasses:
    """A sink in front of all sinks: labels of other classes than the wanted ones become background, instances go.

    Args:
        sinks: what gets the rest.
        classes: the model's class map.
        wanted: names; an unknown one is a UsageError.
    """

    def __init__(self, sinks: Sequence[Sink], classes: Sequence[ClassInfo], wanted: Collection[str]) -> None:
        from edgeseg.drawing import select_classes

        self._sinks = sinks
        self._wanted = [info.id for info in select_classes(classes, wanted)]
        self._table = np.zeros(256, np.uint8)
        self._table[self._wanted] = self._wanted

    def write(self, result: Result) -> None:
        """Hand the result on without the other classes."""
        if result.instances is None:
            result = dataclasses.replace(result, label_map=self._table[result.label_map])
        else:
            # Painted anew: what an unwanted instance covered belongs to the one below.
            instances = result.instances.of_classes(self._wanted)
            result = dataclasses.replace(result, label_map=paint(instances), instances=instances)
        for sink in self._sinks:
            sink.write(result)

    def close(self) -> None:
        """Close all of them."""
        for sink in self._sinks:
            sink.close()


def supervise(pipeline: Pipeline, sinks: Sequence[Sink], signals: Signals) -> None:
    """Start the pipeline and wait for its end, showing progress; the first signal or a closed window stops it.

    Raises:
        The first error of any stage, after every file was finished.
    """
    from edgeseg.runtime.notices import Progress
    from edgeseg.runtime.sinks import wants_stop

    progress = Progress()
    pipeline.start()
    try:
        while not pipeline.wait(PROGRESS_EVERY_S):
            if signals.stopped.is_set() or wants_stop(sinks):
                pipeline.stop()
            progress.show(progress_line(pipeline.stats.to_dict()))
    finally:
        progress.clear()
    pipeline.join()


def progress_line(figures: Mapping[str, Any]) -> str:
    """`312 frames, 29.9 fps, 4 dropped`."""
    fps = figures["throughput_fps"]
    return f"{figures['frames_out']} frames, {fps or 0:.1f} fps, {figures['dropped']} dropped"


def check_source(source: Source, figures: Mapping[str, Any]) -> None:
    """Say that the source broke off; InputError where it gave nothing at all."""
    from edgeseg.errors import InputError
    from edgeseg.runtime.notices import warn

    if source.broken is None:
        return
    if figures["frames_in"] == 0:
        raise InputError("the source gave no frame", f"{source.name} ({source.broken})", "Try it in a video player")
    warn(f"{source.name} broke off after {figures['frames_in']} frames: {source.broken}")


def stats_report(figures: Mapping[str, Any], source: Source, segmenter: Segmenter) -> dict[str, Any]:
    """The content of --stats: the figures, and what they were measured on."""
    from edgeseg.cli.output import describe_segmenter
    from edgeseg.machine import describe

    health = getattr(source, "health", None)
    kept = {"source_health": dataclasses.asdict(health)} if health is not None else {}
    return {**figures, "source": source.name, **kept, **describe_segmenter(segmenter), "machine": describe()}


def summary(figures: Mapping[str, Any], args: argparse.Namespace) -> str:
    """The table at the end: counts, times a stage, files written."""
    from edgeseg.cli.output import table

    shown = [key for key in _COUNTS if figures[key] or key in _COUNTS[:2]]
    counts = ", ".join(f"{figures[key]} {key.removeprefix('frames_')}" for key in shown)
    fps = figures["throughput_fps"]
    lines = [f"frames: {counts}" + (f"; {fps:.1f} fps" if fps else "")]
    rows = [
        (name.replace("_", " "), figures[name]["p50_ms"], figures[name]["p95_ms"], figures[name]["samples"])
        for name in SPANS
        if figures.get(name) and figures[name]["samples"]
    ]
    if rows:
        lines.append(table(("span", "p50 ms", "p95 ms", "samples"), rows))
    written = [str(path) for path in (args.save, args.masks, args.jsonl) if path and str(path) != "-"]
    return "\n".join([*lines, *(f"wrote {path}" for path in written)])


_COUNTS = ("frames_in", "frames_out", "dropped", "skipped", "failed")
