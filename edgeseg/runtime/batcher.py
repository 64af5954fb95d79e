"""Pictures of several streams in one call of the backend, gathered for no longer than a deadline."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError, UsageError
from edgeseg.runtime.backends.base import Arrays, Backend

Outputs = dict[str, npt.NDArray[Any]]


class _Call:
    """What one thread asks for, and its answer."""

    def __init__(self, inputs: Arrays) -> None:
        self.inputs, self.came_s = inputs, time.monotonic()
        self.outputs: Outputs | None = None
        self.error: BaseException | None = None

    @property
    def answered(self) -> bool:
        return self.outputs is not None or self.error is not None


class Batcher:
    """Gathers the calls of several threads and answers them together, those that came first before the others.

    A batch is full, or the oldest call in it has waited for the deadline. While one is computed, the next gathers. A
    full one goes to `several`; of fewer calls each goes to `single`, so that nothing is computed for nobody.

    Args:
        single: takes one picture a call.
        several: the same model, which takes `size` pictures a call; closed with the batcher.
        size: at least 2.
        deadline_ms: how long a call may wait for others; it waits longer only while the backend is at work.

    Raises:
        UsageError: a size below 2, or a deadline that is below 0 or endless.
    """

    def __init__(self, single: Backend, several: Backend, size: int, deadline_ms: float) -> None:
        if size < 2:
            raise UsageError("a batch is of 2 pictures or more", size, "Leave batches out")
        if not 0 <= deadline_ms <= threading.TIMEOUT_MAX:
            raise UsageError("the deadline of a batch is no time", deadline_ms, "Give milliseconds, 5 for example")
        self.size, self.deadline_ms = size, deadline_ms
        self.full = self.partial = 0
        self.busy_ms = 0.0  # what the backend took for the last batch
        self._single, self._several = single, several
        self._engine = threading.Lock()  # before `_came`, where both are held
        self._came = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._closed = False

    def infer(self, inputs: Arrays, names: Collection[str]) -> Outputs:
        """As `Backend.infer`, for one picture; threads may call it side by side.

        Args:
            inputs: by name, the first axis 1.
            names: of the outputs that are wanted.

        Returns:
            New arrays.

        Raises:
            What the backend raises, in each call of the batch; ModelError where the batcher is closed.
        """
        call = _Call(inputs)
        with self._came:
            self._waiting.append(call)
            self._came.notify_all()
        # Who gets the engine runs what came first, which may be others' calls alone.
        with self._engine:
            while not call.answered:
                self._answer(self._gather(), names)
        if call.error is not None:
            raise call.error
        assert call.outputs is not None
        return call.outputs

    def close(self) -> None:
        """Free `several`, after the batch in progress; may be called again."""
        with self._engine:
            if not self._closed:
                self._closed = True
                self._several.close()

    def _gather(self) -> list[_Call]:
        with self._came:
            ends_s = self._waiting[0].came_s + self.deadline_ms / 1e3
            self._came.wait_for(lambda: len(self._waiting) >= self.size, max(0.0, ends_s - time.monotonic()))
            return [self._waiting.popleft() for _ in range(min(self.size, len(self._waiting)))]

    def _answer(self, calls: list[_Call], names: Collection[str]) -> None:
        try:
            if self._closed:
                raise ModelError("the segmenter is closed", self._single.manifest.name, "Load it again")
            if len(calls) == self.size:
                self.full += 1
                inputs = {name: np.concatenate([call.inputs[name] for call in calls]) for name in calls[0].inputs}
                started = time.perf_counter()
                found = self._several.infer(inputs)
                self.busy_ms = (time.perf_counter() - started) * 1e3
                for place, call in enumerate(calls):
                    call.outputs = {name: found[name][place : place + 1].copy() for name in names}
                return
            self.partial += 1
            for call in calls:
                started = time.perf_counter()
                found = self._single.infer(call.inputs)
                self.busy_ms = (time.perf_counter() - started) * 1e3
                call.outputs = {name: found[name].copy() for name in names}
        except BaseException as error:  # it belongs to the threads that asked
            for call in calls:
                if not call.answered:
                    call.error = error
