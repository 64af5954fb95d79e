"""A camera, a backend and sinks whose speed and failures the tests decide. The backend really computes a map."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.manifest import PREVIOUS, Manifest
from edgeseg.types import ClassInfo, Frame, Result

PERSON = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60)))


def person_manifest(**fields: Any) -> Manifest:
    """A two-class manifest of 32 x 32 unless told otherwise."""
    usual = {"name": "toy", "classes": PERSON, "height": 32, "width": 32, "outputs": ("label_map", "probability")}
    return Manifest(**{**usual, **fields})


class ToyBackend:
    """Calls bright pixels "person". Gives out the same arrays each time, as a real backend may.

    With a memory it answers the mean of the picture and of what it is told that it said last.
    """

    name = "toy"
    device = "CPU"
    shares_cores = False

    def __init__(self, manifest: Manifest | None = None, takes_s: float = 0.0, fails_at: int | None = None) -> None:
        self.manifest = manifest or person_manifest()
        self.takes_s, self.fails_at = takes_s, fails_at
        self.calls = -1  # the warm-up is no call
        self.closed = 0
        shape = (1, self.manifest.height, self.manifest.width)
        self._outputs = {"label_map": np.zeros(shape, np.uint8), "probability": np.zeros(shape, np.uint8)}

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("the backend broke")
        if self.takes_s:
            time.sleep(self.takes_s)
        bright = inputs["image"].mean(axis=3)
        if self.manifest.memory:
            bright = (bright + inputs[PREVIOUS]) / 2
        self._outputs["probability"][:] = bright.round()
        self._outputs["label_map"][:] = self._outputs["probability"] >= 128
        return {name: self._outputs[name] for name in self.manifest.outputs}

    def begin(self, inputs: Any) -> None:
        return None

    def borrow_input(self) -> None:
        return None

    def close(self) -> None:
        self.closed += 1


class ToySource:
    """`count` frames (endless when None), at `fps` where that is given. `close` wakes a wait for the next frame."""

    name = "toy"
    unrelated = False
    broken: str | None = None

    def __init__(
        self, count: int | None = 10, fps: float | None = None, live: bool = False, fails_at: int = -1, side: int = 48
    ) -> None:
        self.count, self.fps, self.live, self.fails_at, self.side = count, fps, live, fails_at, side
        self.made = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        started_ns = time.monotonic_ns()
        while (self.count is None or self.made < self.count) and not self.closed.is_set():
            if self.made == self.fails_at:
                raise RuntimeError("the source broke")
            captured_ns = time.monotonic_ns()
            if self.fps:
                captured_ns = started_ns + int(self.made * 1e9 / self.fps)
                if self.closed.wait(max(0.0, (captured_ns - time.monotonic_ns()) / 1e9)):
                    return
            image = np.full((self.side, self.side + 16, 3), self.made % 256, np.uint8)
            self.made += 1
            yield Frame(image, self.made - 1, captured_ns, source=self.name)

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> ToySource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Stuck(ToySource):
    """Gives two frames, then waits in a read until it is closed, and complains about that."""

    def __iter__(self) -> Iterator[Frame]:
        for number in range(2):
            yield Frame(np.zeros((40, 40, 3), np.uint8), number, time.monotonic_ns())
        self.closed.wait()
        raise OSError("the device was closed while it was read")


class Recorder:
    """Keeps results; can be slow, and can fail at a frame or when it is closed."""

    def __init__(self, takes_s: float = 0.0, fails_at: int = -1, fails_to_close: bool = False) -> None:
        self.takes_s, self.fails_at, self.fails_to_close = takes_s, fails_at, fails_to_close
        self.results: list[Result] = []
        self.closed = 0
        self.threads: set[str] = set()

    def write(self, result: Result) -> None:
        if self.takes_s:
            time.sleep(self.takes_s)
        if len(self.results) == self.fails_at:
            raise RuntimeError("the sink broke")
        self.results.append(result)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.closed += 1
        self.threads.add(threading.current_thread().name)
        if self.fails_to_close:
            raise RuntimeError("the sink's end broke")

    @property
    def numbers(self) -> list[int]:
        return [result.frame_number for result in self.results]
