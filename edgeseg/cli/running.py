"""What `edgeseg run` does around its pipelines: outputs, signals, progress."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.instance_masks import paint

if TYPE_CHECKING:
    from edgeseg.cli.replaying import Comparison
    from edgeseg.runtime.pipeline import Pipeline
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sinks import Sink
    from edgeseg.runtime.sinks.recorder import Recorder
    from edgeseg.runtime.sinks.web.server import WebPage
    from edgeseg.runtime.sources import RawFormat, Source
    from edgeseg.runtime.streams import Streams
    from edgeseg.types import ClassInfo, Result

PROGRESS_EVERY_S = 0.25
# Kinds of sinks as people call them.
NAMES = {
    "JsonLines": "file of JSON lines",
    "MaskVideo": "video of masks",
    "Masks": "folder of masks",
    "Recorder": "recording",
    "RosTopics": "ROS 2 topics",
    "SharedMemory": "shared memory",
    "StandardOutput": "standard output",
    "Video": "video",
    "VirtualCamera": "virtual camera",
    "Window": "window",
    "Camera": "web page",
}


class Signals:
    """While active, the first SIGINT or SIGTERM sets `stopped`, the second ends the process at once.

    A thread of its own reads them from a pipe that the interpreter writes to: the second one must work, too, while the
    main thread hangs in foreign code, where Python runs no handlers. Outside the main thread, where handlers cannot be
    set, it does nothing.

    Args:
        then: called in that thread at the first signal, to end what the main thread waits for.
    """

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.stopped = threading.Event()
        self._then = then
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
            self._then()


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
        """Close all of them, also where the end of one fails; then raises its error."""
        with contextlib.ExitStack() as stack:
            for sink in reversed(self._sinks):
                stack.callback(sink.close)


def _none_left(sinks: Sequence[Sink]) -> bool:
    """True where all sinks have failed: nothing would come of going on."""
    return bool(sinks) and all(getattr(sink, "error", None) is not None for sink in sinks)


def raw_format(args: argparse.Namespace) -> RawFormat | None:
    """What frames on standard input are, by the options; None without a size."""
    from edgeseg.runtime.sources import RawFormat

    if args.raw_size is None:
        return None
    width, height = args.raw_size
    return RawFormat(width, height, args.raw_format, args.raw_fps)


def numbered(path: str | Path | None, place: int, several: bool) -> str | Path | None:
    """The place of one stream's output: `-0`, `-1` and so on before the suffix where there are several."""
    if path is None or not several:
        return path
    name = Path(path)
    return name.with_name(f"{name.stem}-{place}{name.suffix}")


def local_names(args: argparse.Namespace, place: int, several: bool) -> dict[str, Any]:
    """The names of one stream's shared memory, ROS topics and their frame; ROS has no `-` in names."""
    ending = f"_{place}" if several else ""
    shm = args.shm and str(numbered(args.shm, place, several))
    return {"shm": shm, "ros": args.ros and args.ros + ending, "frame_id": args.ros_frame_id + ending}


def open_page(args: argparse.Namespace, stack: contextlib.ExitStack) -> WebPage | None:
    """The web page of --web, bound to its address and not serving yet; None without that option."""
    if args.web is None:
        return None
    from edgeseg.runtime.sinks.web.address import read_address
    from edgeseg.runtime.sinks.web.server import WebPage

    # Not an option: every user of a machine sees the arguments of all processes.
    return stack.enter_context(WebPage(read_address(args.web), os.environ.get("EDGESEG_WEB_TOKEN") or None))


def make_pipelines(
    args: argparse.Namespace,
    sources: Sequence[Source],
    segmenters: Sequence[Segmenter],
    stack: contextlib.ExitStack,
    page: WebPage | None = None,
) -> tuple[list[Pipeline], list[Sink], list[Recorder | Comparison]]:
    """A pipeline for each of the `Camera`s in `args.sources`, their sinks, and what records or compares.

    `segmenters`: the model and the smaller ones that a budget may turn to, shared by all.
    `stack` closes the sinks; `page` begins to serve.
    """
    from edgeseg.cli import replaying
    from edgeseg.runtime.background import Background, Scene
    from edgeseg.runtime.effort import Effort
    from edgeseg.runtime.pipeline import Pipeline
    from edgeseg.runtime.sinks import open_sinks
    from edgeseg.runtime.sinks.guarded import HOLD_UP_S, Guarded
    from edgeseg.runtime.stats import Stats
    from edgeseg.runtime.temporal import Smoother
    from edgeseg.runtime.turnstile import Turnstile

    scene = Scene.parse(args.background) if args.background is not None else None
    segmenter = segmenters[0]
    together = segmenter.batcher.size if segmenter.batcher is not None else 1
    turnstile, several = Turnstile(2 * together), len(sources) > 1
    pipelines: list[Pipeline] = []
    every: list[Sink] = []
    tapes: list[Recorder | Comparison] = []
    for place, (camera, source) in enumerate(zip(args.sources, sources, strict=True)):
        save, masks, jsonl = (numbered(path, place, several) for path in (args.save, args.masks, args.jsonl))
        opened = open_sinks(
            save,
            masks,
            jsonl,
            args.show,
            fps=source.fps,
            live=source.live,
            shapes=args.jsonl_shapes,
            camera=args.virtual_camera,
            draw=Background(scene, segmenter.threshold) if scene else None,
            **local_names(args, place, several),
        )
        live, stats = source.live and camera.policy != "all", Stats()
        if page is not None:
            # Where nothing else is made of a file, it is seen at its own speed.
            paced = not (source.live or opened)
            opened.append(page.camera(source.name, stats, source.live, source.fps, paced))
        sinks: list[Sink] = [Guarded(sink, NAMES[type(sink).__name__], live) for sink in opened]
        for sink in sinks:
            stack.callback(sink.close)
        every += sinks
        if args.classes:
            sinks = [OnlyClasses(sinks, segmenter.classes, args.classes)]
        tape = replaying.open_tape(args, camera.smooth, numbered(args.record, place, several), source, segmenters)
        on_drop = on_skip = None
        if isinstance(tape, replaying.Comparison):
            sinks = [tape, *sinks]
        elif tape is not None:
            # Waited for, and given what the model said: without one result, or a class, a replay differs.
            # Not for ever, though: a disk that hangs must not stop a camera.
            kept = Guarded(tape, NAMES["Recorder"], live=False, hold_up_s=HOLD_UP_S if source.live else None)
            stack.callback(kept.close)
            every.append(kept)
            sinks, on_drop, on_skip = [*sinks, kept], tape.dropped, tape.skipped
        tapes += [] if tape is None else [tape]
        smoother = Smoother.parse(camera.smooth, segmenter.threshold) if camera.smooth else None
        effort = Effort(segmenters, source, camera.max_age_ms, on_skip)
        pipelines.append(Pipeline(source, segmenter, sinks, camera.policy, smoother, stats, turnstile, on_drop, effort))
    if page is not None:
        wanted = args.classes or [info.name for info in segmenter.classes]
        page.start([info for info in segmenter.classes if info.id and info.name in wanted])
    return pipelines, every, tapes


def supervise(pipeline: Pipeline | Streams, sinks: Sequence[Sink], signals: Signals) -> None:
    """Start the pipeline and wait for its end, showing progress; the first signal or a closed window stops it.

    Raises:
        The first error of any stage, after every file was finished.
    """
    from edgeseg.cli import run_report
    from edgeseg.runtime.notices import Progress
    from edgeseg.runtime.sinks import wants_stop

    progress = Progress()
    pipeline.start()
    try:
        while not pipeline.wait(PROGRESS_EVERY_S):
            if signals.stopped.is_set() or wants_stop(sinks) or _none_left(sinks):
                pipeline.stop()
                for sink in sinks:
                    getattr(sink, "end_soon", lambda: None)()
            progress.show(run_report.progress_line(pipeline.stats.counts()))
    finally:
        progress.clear()
    pipeline.join()
