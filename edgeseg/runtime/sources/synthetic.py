"""A camera without hardware: a figure that sways in front of a gradient, at any size and rate."""

from __future__ import annotations

import math
import re
import time

import numpy as np

from edgeseg.errors import UsageError
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.types import Frame, Image

PREFIX = "synthetic:"
MAX_SIDE = 8192
MAX_FPS = 1000.0
# What timestamps of the unpaced kind assume, for sinks that need a rate.
NOMINAL_FPS = 30.0
RING_BYTES = 32 << 20
RING_FRAMES = 24


class Synthetic(FrameSource):
    """Frames drawn beforehand and handed out in turn, so that the source costs next to nothing while it runs.

    With a rate it is a live camera: frame k is due at start + k / rate, and `captured_ns` is that moment. A reader that
    comes late gets the newest frame that was due, as from a camera with one buffer; those before it are never seen.
    Without a rate it waits like a file, and its timestamps are those of 30 frames a second.

    The pictures are shared between frames, so they are read-only arrays.

    Args:
        spec: `synthetic:WIDTHxHEIGHT@FPS` or `synthetic:WIDTHxHEIGHT`.
        max_frames: end after so many frames; endless when None.

    Raises:
        UsageError: the specification does not read that way, or is out of range.
    """

    def __init__(self, spec: str, max_frames: int | None = None) -> None:
        super().__init__(spec, max_frames)
        width, height, rate = parse(spec)
        self.live = rate is not None
        self.fps: float = rate or NOMINAL_FPS
        self._ring = draw_ring(width, height)
        self._tick = 0
        self._started_ns: int | None = None

    def _read(self) -> Frame | None:
        if self.live and not self._wait_until_due():
            return None
        captured_ns = self._due_ns(self._tick) if self.live else time.monotonic_ns()
        image = self._ring[self._tick % len(self._ring)]
        frame = Frame(image, self._count, captured_ns, pts_s=self._tick / self.fps, source=self.name)
        self._tick += 1
        return frame

    def _wait_until_due(self) -> bool:
        now_ns = time.monotonic_ns()
        if self._started_ns is None:
            self._started_ns = now_ns
        self._tick = max(self._tick, math.floor((now_ns - self._started_ns) * self.fps / 1e9))
        wait_ns = self._due_ns(self._tick) - now_ns
        return wait_ns <= 0 or not self._stop.wait(wait_ns / 1e9)

    def _due_ns(self, tick: int) -> int:
        # From the start each time, not from the frame before: errors of rounding and waking do not add up.
        return (self._started_ns or 0) + round(tick * 1e9 / self.fps)

    def _release(self) -> None:
        self._ring = []


def parse(spec: str) -> tuple[int, int, float | None]:
    """(width, height, frames a second or None) of `synthetic:WIDTHxHEIGHT[@FPS]`; UsageError for anything else."""
    match = re.fullmatch(r"synthetic:(\d{1,5})x(\d{1,5})(?:@(\d{1,6}(?:\.\d{1,6})?))?", spec)
    if match is None:
        raise UsageError("bad synthetic source", spec, "Write synthetic:1280x720@30, or synthetic:1280x720 unpaced")
    width, height, rate = int(match[1]), int(match[2]), float(match[3]) if match[3] else None
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise UsageError("bad size of a synthetic source", f"{width}x{height}", f"Sides are 1 to {MAX_SIDE} pixels")
    if rate is not None and not 0 < rate <= MAX_FPS:
        raise UsageError("bad rate of a synthetic source", match[3], f"Rates are above 0 and up to {MAX_FPS:g}")
    return width, height, rate


def draw_ring(width: int, height: int) -> list[Image]:
    """Read-only pictures, uint8 [height, width, 3] BGR, of one sway of the figure; at least 2, about 32 MB at most."""
    count = min(RING_FRAMES, max(2, RING_BYTES // (width * height * 3)))
    background = np.empty((height, width, 3), np.uint8)
    background[..., 0] = np.linspace(150, 70, height)[:, None]
    background[..., 1] = np.linspace(90, 150, width)
    background[..., 2] = 80
    rows = (np.arange(height)[:, None] + 0.5) / height
    side = min(width, height)
    columns = (np.arange(side)[None, :] + 0.5 - side / 2) / height
    head = columns**2 + ((rows - 0.34) * 0.8) ** 2 < 0.11**2
    body = (columns / 0.27) ** 2 + ((rows - 1.0) / 0.5) ** 2 < 1.0
    ring = []
    for number in range(count):
        image = background.copy()
        left = round((width - side) * (0.5 + 0.5 * math.sin(2 * math.pi * number / count)))
        window = image[:, left : left + side]
        window[body] = (60, 60, 190)
        window[head] = (150, 180, 225)
        image.flags.writeable = False
        ring.append(image)
    return ring
