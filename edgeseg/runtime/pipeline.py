"""Runs a source through a segmenter into sinks, on three threads that never wait for an old frame.

    capture ──hand-over──> preprocess + backend ──one slot──> postprocess + sinks

The first hand-over is a `Mailbox` for live sources (the newest frame wins) and a `Waiting` for everything else (every
frame, in order). A frame is taken only when there is room for its result, so that frames grow old in the mailbox.

Where every frame comes out, and none is late for another, the second thread works one frame ahead of a backend that can
do so (`Backend.begin`): the next frame is made small, and uploaded, while the backend is at the one before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgeseg.errors import UsageError, nearest
from edgeseg.runtime import notices
from edgeseg.runtime.effort import Effort
from edgeseg.runtime.inferring import Begun, Inferred, infer_frame
from edgeseg.runtime.mailbox import HandOver, Mailbox, Waiting
from edgeseg.runtime.opencv_threads import one_opencv_thread
from edgeseg.runtime.outbox import Outbox
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sinks.base import Sink, wants_stop
from edgeseg.runtime.sources.recorded import Recorded
from edgeseg.runtime.stats import Stats
from edgeseg.runtime.temporal import Memory, Smoother, check_smoothing
from edgeseg.runtime.turnstile import Turnstile
from edgeseg.runtime.workers import Workers
from edgeseg.types import Frame, Result

if TYPE_CHECKING:
    from edgeseg.runtime.sources.base import Source

POLICIES = ("newest", "all")
# How long a source may take to come back from a read after it was closed.
CLOSING_S = 5.0


class Pipeline:
    """One source, one segmenter, any number of sinks. Used once.

    The pipeline closes its sinks when the last result is through (on the thread that wrote to them, as windows want it)
    and the source when it is stopped or fails; closing them again does no harm. The segmenter stays open.

    Args:
        source: where frames come from.
        segmenter: what labels them; several pipelines may share one.
        sinks: where results go, in this order; one with a true `wants_stop` (a window that was closed) stops the run.
        policy: "newest" drops frames that the model is too slow for, "all" makes the source wait; unless given, live
            sources drop and others wait.
        smoother: temporal smoothing of the probability; left out, with a warning, for a folder of unrelated pictures.
        stats: counts and spans; new ones unless given.
        turnstile: where pipelines that share a segmenter queue for it, each with its newest frame.
        on_drop: told of each frame that is dropped, and why; it must be quick.
        effort: which frames are skipped and which a smaller model runs, to hold a budget; none unless given.

    Raises:
        UsageError: an unknown policy, or a smoother that does not fit the model (`check_smoothing`).
    """

    def __init__(
        self,
        source: Source,
        segmenter: Segmenter,
        sinks: Sequence[Sink] = (),
        policy: str | None = None,
        smoother: Smoother | None = None,
        stats: Stats | None = None,
        turnstile: Turnstile | None = None,
        on_drop: Callable[[Frame, str], None] | None = None,
        effort: Effort | None = None,
    ) -> None:
        if policy is not None and policy not in POLICIES:
            raise UsageError("unknown policy", policy, nearest(policy, POLICIES))
        if smoother is not None:
            check_smoothing(smoother, segmenter.manifest)
            if source.unrelated:
                notices.warn(f"no smoothing: the pictures of {source.name} have nothing to do with each other")
                smoother = None
        self.source, self.segmenter, self.stats = source, segmenter, stats or Stats()
        self._sinks: list[Sink] = list(sinks)
        self._smoother = smoother
        self._turnstile = turnstile or Turnstile()
        self._effort = effort or Effort([segmenter], source)
        self.stats.add_report("budget", self._effort.report)
        # Of a model with memory each stream has its own, and unrelated pictures have none.
        self._memory = None if source.unrelated else Memory()
        newest = policy == "newest" if policy else source.live
        # A budget is held on each frame's own time.
        self._ahead = not newest and not self._effort.limited
        self._inbox: HandOver[Frame] = Mailbox(on_drop) if newest else Waiting(on_drop)
        self._inferred: Waiting[Inferred] = Waiting()
        self.stats.follow("dropped", self._inbox)
        if isinstance(source, Recorded):  # what was dropped or skipped then came in then, too
            for name in ("dropped", "skipped"):
                self.stats.follow(name, source, name)
                self.stats.follow("frames_in", source, name)
        # Inferred but never through the third thread: that only happens when a sink failed.
        self.stats.follow("failed", self._inferred)
        self._workers = Workers(("capture", "infer", "output", "stop"), on_error=self._close_inputs)
        self._started = self._stopping = self._given_up = False
        self._warm = threading.Event()

    def start(self) -> None:
        """Start the three threads and return at once."""
        if self._started:
            raise RuntimeError("a pipeline runs once; make a new one")
        self._started = True
        self._workers.run("output", self._output, self._end_output)
        self._workers.run("infer", self._infer, self._end_infer)
        self._workers.run("capture", self._capture, self._inbox.close)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end without raising the pipeline's error; False after `timeout_s` seconds."""
        if not self._started:
            if self._stopping:
                return True
            raise RuntimeError("the pipeline was not started")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for name in ("infer", "output"):
            if not self._workers.wait(name, None if deadline is None else max(0.0, deadline - time.monotonic())):
                return False
        # Only a source that was closed in the middle of a read can still be at work now.
        for name in ("capture", "stop") if self._stopping else ("capture",):
            if not self._given_up and not self._workers.wait(name, CLOSING_S):
                self._given_up = True
                notices.warn(f"the source {self.source.name} did not come back within {CLOSING_S:g} s of being closed")
        return True

    def join(self) -> None:
        """Wait for the end; raises the first error of any thread."""
        self.wait()
        if self._workers.error is not None:
            raise self._workers.error

    @property
    def error(self) -> BaseException | None:
        """The first error of any thread so far."""
        return self._workers.error

    def stop(self) -> None:
        """End soon: frames on their way come out, one that was not taken yet counts as dropped. Does not wait.

        May be called again, before the start, from any thread and from a signal handler.
        """
        if self._stopping:
            return
        self._stopping = True
        # A signal handler interrupts the main thread anywhere, also where it holds a lock that closing needs: so the
        # closing is done by a thread of its own, which can wait for it.
        self._workers.run("stop", self._close_inputs)

    def results(self) -> Iterator[Result]:
        """Start, and yield every result; the pipeline stops and ends when the iterator is closed or used up.

        A slow consumer makes the pipeline wait, and with it the source, or drops frames of a live one.

        Raises:
            The first error of any thread, after the results before it.
        """
        outbox: Waiting[Result] = Waiting()
        self._sinks.append(Outbox(outbox))
        self.start()
        try:
            while (result := outbox.take()) is not None:
                yield result
        finally:
            outbox.close(discard=True)
            self.stop()
            self.join()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None:
            self.join()
        else:
            self.wait()

    def _close_inputs(self) -> None:
        self._inbox.close(discard=True)
        try:
            self.source.close()
        except BaseException as error:
            self._workers.keep(error)

    def _capture(self) -> None:
        try:
            self._warm.wait()
            if self._stopping or self._workers.error:
                return
            asked = time.perf_counter()
            for frame in self.source:
                self.stats.record(capture=(time.perf_counter() - asked) * 1e3)
                self.stats.count("frames_in")
                if not self._inbox.put(frame):
                    return
                asked = time.perf_counter()
        except Exception:
            # A source that is closed in the middle of a read may complain; that is no error of the run.
            if not (self._stopping or self._workers.error):
                raise

    def _infer(self) -> None:
        # Before the first frame is captured, so that no frame waits for code to be loaded.
        self._effort.warm_up()
        self._warm.set()
        with one_opencv_thread(self._ahead and self.segmenter.backend.shares_cores):
            self._infer_all()

    def _infer_all(self) -> None:
        begun: Begun | None = None
        try:
            while self._inferred.wait_for_room() and (begun or self._inbox.wait_for_item()):
                if self._effort.skips():
                    self._skip_one()
                    continue
                # A result does not wait for a frame that may come much later.
                now = self._take_one() if self._inbox.ready() else None
                before, begun = begun, None
                if before is not None:
                    self._finish(before)
                if callable(now):
                    begun = now
                elif now is not None:
                    self._inferred.put(now)
                elif before is None:
                    return
        finally:
            if begun is not None:
                self._finish(begun)

    def _skip_one(self) -> None:
        """Leave the next frame out, outside the turnstile: no other stream waits for a frame that nobody infers."""
        if (frame := self._inbox.take()) is not None:
            self.stats.count("skipped")
            self._effort.skipped(frame)

    def _take_one(self) -> Inferred | Begun | None:
        """The next frame through the backend, or into it; None where none comes any more."""
        with self._turnstile.passed():
            # What came while it queued has replaced what it came with.
            frame = self._inbox.take()
            if frame is None:
                return None
            taken_ns = time.monotonic_ns()
            with self.stats.failures_counted():
                model, level = self._effort.choose(frame)
                segmenter, smoothed = self._effort.segmenters[model], self._smoother is not None
                inferred = infer_frame(frame, segmenter, self._memory, smoothed, self._ahead, model, level)
        if self.source.live:
            self.stats.record(age_taken=(taken_ns - frame.captured_ns) / 1e6)
        return inferred

    def _finish(self, begun: Begun) -> None:
        with self.stats.failures_counted():
            inferred = begun()
        self._inferred.put(inferred)

    def _end_infer(self) -> None:
        self._inferred.close()
        self._warm.set()

    def _output(self) -> None:
        while (inferred := self._inferred.take()) is not None:
            with self.stats.failures_counted():
                self._output_one(inferred)

    def _end_output(self) -> None:
        self._inferred.close(discard=True)
        for sink in self._sinks:
            try:
                sink.close()
            except BaseException as error:
                self._workers.keep(error)

    def _output_one(self, inferred: Inferred) -> None:
        frame, spans = inferred.frame, {"preprocess": inferred.preprocess_ms, "inference": inferred.inference_ms}
        segmenter = self._effort.segmenters[inferred.model]
        started = time.perf_counter()
        answer = segmenter.postprocess(inferred.smoothed(self._smoother), inferred.geometry)
        ended = time.perf_counter()
        spans["postprocess"] = (ended - started) * 1e3
        result = Result(*answer, frame, self.segmenter.classes, spans, inferred.model)
        if self.source.live:
            age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
            self.stats.record(frame_age=age_ms)
            self._effort.done(age_ms, inferred.alone_ms + spans["postprocess"], inferred.level, time.monotonic())
        for sink in self._sinks:
            sink.write(result)
        self.stats.record(**spans, sinks=(time.perf_counter() - ended) * 1e3)
        self.stats.count("frames_out")
        if wants_stop(self._sinks):
            self.stop()
