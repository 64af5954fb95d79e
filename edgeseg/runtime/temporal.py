"""The one stage that remembers: calms flickering borders by mixing a frame's probability with the frames before it, and
keeps what a model with memory is told of the frame before.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError, nearest
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import Probability

METHODS = ("exponential", "uncertainty")
STRENGTH = 0.7


class Smoother:
    """Mixes each probability map with the smoothed one before it.

    With p the new and q the previous, smoothed probability of a pixel, the result is p + (q - p) w. The weight of the
    past is

    - "exponential": w = strength everywhere: steady, but moving things drag a shadow behind them.
    - "uncertainty": w = strength * h(p)^2 with h(p) = -p log2(p) - (1 - p) log2(1 - p), the entropy in bits: the past
      decides where the model is undecided and nothing is mixed in where it is sure, so motion leaves no shadow. This is
      the rule of MediaPipe's SegmentationSmoothingCalculator (there as a polynomial fitted to it, and with the strength
      as `combine_with_previous_ratio`).

    Both only depend on the byte p, so the weights are a table of 256. Maps at the model's own resolution are a tenth of
    a frame's size: smooth those, before they are resized.

    Args:
        method: "exponential" or "uncertainty".
        strength: 0 (no smoothing) to below 1.

    Raises:
        UsageError: another method, or a strength outside.
    """

    def __init__(self, method: str = "uncertainty", strength: float = STRENGTH) -> None:
        if method not in METHODS:
            raise UsageError("unknown smoothing", method, nearest(method, METHODS))
        if not 0.0 <= strength < 1.0:
            raise UsageError("the smoothing strength must be from 0 to below 1", strength, "Give 0.7, for example")
        self.method, self.strength = method, strength
        self._weights = strength * (np.ones(256, np.float32) if method == "exponential" else _entropy_squared())
        # Kept as floats: rounded to bytes, a strong smoothing would stop short of the value that it approaches.
        self._state: npt.NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Smoother:
        """Read METHOD or METHOD:STRENGTH, as on the command line: `uncertainty`, `exponential:0.5`."""
        method, _, number = text.partition(":")
        try:
            return cls(method, float(number) if number else STRENGTH)
        except ValueError:
            raise UsageError("bad smoothing strength", text, "Write uncertainty:0.7, for example") from None

    def __call__(self, probability: Probability) -> Probability:
        """Smooth the next map of the stream.

        Args:
            probability: uint8, of any shape; a shape other than the last one's starts afresh.

        Returns:
            uint8 of that shape, a new array.
        """
        import cv2

        if self._state is None or self._shape != probability.shape:
            self._shape = probability.shape
            self._state = probability.reshape(-1, probability.shape[-1]).astype(np.float32)
            return np.array(probability)
        new, state = probability.reshape(self._state.shape), self._state
        # In OpenCV and not in numpy, which takes twice as long and keeps the other threads waiting meanwhile.
        weights = cv2.LUT(new, self._weights)
        cv2.subtract(state, new, dst=state, dtype=cv2.CV_32F)
        cv2.multiply(state, weights, dst=state)
        cv2.add(state, new, dst=state, dtype=cv2.CV_32F)
        return cast(Probability, cv2.convertScaleAbs(state).reshape(self._shape))

    def reset(self) -> None:
        """Forget the past: for a cut, another camera, or pictures that have nothing to do with each other."""
        self._state = None


class Memory:
    """The last probability of one stream, at the model's size, for a model that takes it as a further input."""

    def __init__(self) -> None:
        self._last: Probability | None = None
        self._of: tuple[Geometry | Tiling, int] | None = None

    def recall(self, geometry: Geometry | Tiling, session: int = 0) -> Probability | None:
        """What was kept, uint8 [1, height, width]; None where nothing was, or of another place or session."""
        return self._last if (geometry, session) == self._of else None

    def keep(self, probability: Probability, geometry: Geometry | Tiling, session: int = 0) -> None:
        """Keep a frame's answer, how the frame got to the model's size, and the frame's session."""
        self._last, self._of = probability, (geometry, session)


def _entropy_squared() -> npt.NDArray[np.float32]:
    p = np.arange(256) / 255
    inner = p[1:-1]
    entropy = np.zeros(256)
    entropy[1:-1] = -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)
    return np.square(entropy).astype(np.float32)
