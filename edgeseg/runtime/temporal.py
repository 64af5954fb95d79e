"""The one stage that remembers: calms flickering borders by mixing a frame's probability with the frames before it, and
keeps what a model with memory is told of the frame before.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError, nearest
from edgeseg.manifest import Manifest
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.motion import CUT, Gray, Motion, scene_distance
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import Probability

METHODS = ("exponential", "uncertainty")
OPTIONS = ("flow", "hold")
STRENGTH = 0.7
# Chosen on kite-surf alone by benchmarks/temporal.py, and held against dance-twirl there.
STEADY = "exponential:0.6+flow+hold"
# How far beyond the threshold a probability must be to make a pixel foreground, and to end that. The push reaches its
# full size this far from the threshold.
HOLD, HOLD_RAMP = (0.1, 0.1), 1 / 16


def check_smoothing(smoother: Smoother, manifest: Manifest) -> None:
    """Raise UsageError where a model's answers cannot be smoothed that way.

    Only a two-class file gives a probability. One of more classes gives labels, between which there is no mean; an
    instance model gives objects.
    """
    if not manifest.two_class:
        seen = f"{manifest.name} ({len(manifest.classes)} classes, {manifest.task})"
        todo = "Leave smoothing out: only two-class models give probabilities, others give labels"
        raise UsageError("the model has no probability to smooth", seen, todo)
    if smoother.flow and manifest.tiled:
        raise UsageError("tiles have no common motion", f"{manifest.name} with +flow", "Leave +flow out")


class Smoother:
    """Mixes each probability map with the smoothed one before it.

    With p the new and q the previous, smoothed probability of a pixel, the result is p + (q - p) w. The weight of the
    past is

    - "exponential": w = strength everywhere: steady, but moving things drag a shadow behind them, unless `flow` is on.
    - "uncertainty": w = strength * h(p)^2 with h(p) = -p log2(p) - (1 - p) log2(1 - p), the entropy in bits: the past
      decides where the model is undecided and nothing is mixed in where it is sure, so motion leaves no shadow. This is
      the rule of MediaPipe's SegmentationSmoothingCalculator (there as a polynomial fitted to it, and with the strength
      as `combine_with_previous_ratio`).

    Both only depend on the byte p, so the weights are a table of 256. Maps at the model's own resolution are a tenth of
    a frame's size: smooth those, before they are resized.

    With `flow`, q is first moved along by the optical flow between the two pictures (`motion.Motion`). With `hold`,
    what comes out is pushed to the side of the threshold on which the pixel was before, by the first of its two numbers
    outside of the foreground and by the second inside: a Schmitt trigger. It belongs to the place in the picture and
    is not moved.

    A picture of another scene starts afresh (`motion.scene_distance` above CUT).

    Args:
        method: "exponential" or "uncertainty".
        strength: 0 (no smoothing) to below 1.
        flow: the past is moved along with the picture first.
        hold: how far beyond the threshold a probability must be to make a pixel foreground, and to end that.
        threshold: probability from which a pixel is foreground, for `hold`.

    Raises:
        UsageError: another method, or a strength outside.
    """

    def __init__(
        self,
        method: str = "uncertainty",
        strength: float = STRENGTH,
        flow: bool = False,
        hold: tuple[float, float] = (0.0, 0.0),
        threshold: float = 0.5,
    ) -> None:
        if method not in METHODS:
            raise UsageError("unknown smoothing", method, nearest(method, ("steady", *METHODS)))
        if not 0.0 <= strength < 1.0:
            raise UsageError("the smoothing strength must be from 0 to below 1", strength, "Give 0.7, for example")
        self.method, self.strength, self.flow, self.hold = method, strength, flow, hold
        self._weights = strength * (np.ones(256, np.float32) if method == "exponential" else _entropy_squared())
        self._pushes = _pushes(hold, threshold)
        self._motion: Motion | None = None
        # Kept as floats: rounded to bytes, a strong smoothing would stop short of the value that it approaches.
        self._state: npt.NDArray[np.float32] | None = None
        self._shown: Probability | None = None
        self._picture: Gray | None = None
        self._shape: tuple[int, ...] = ()
        self._of: object = None

    @classmethod
    def parse(cls, text: str, threshold: float = 0.5) -> Smoother:
        """Read `steady` or METHOD[:STRENGTH][+flow][+hold], as on the command line: `exponential:0.5+flow`."""
        words, *options = (STEADY if text == "steady" else text).split("+")
        method, _, number = words.partition(":")
        for option in options:
            if option not in OPTIONS:
                raise UsageError("unknown option of smoothing", option, nearest(option, OPTIONS))
        try:
            strength = float(number) if number else STRENGTH
        except ValueError:
            raise UsageError("bad smoothing strength", text, "Write uncertainty:0.7, for example") from None
        return cls(method, strength, "flow" in options, HOLD if "hold" in options else (0.0, 0.0), threshold)

    def __call__(self, probability: Probability, picture: Gray | None = None, of: object = None) -> Probability:
        """Smooth the next map of the stream.

        Args:
            probability: uint8, of any shape; a shape other than the last one's starts afresh.
            picture: uint8 [H, W], the luma of what the map is of (`motion.gray_of` the model's input), by which cuts
                are seen. With `flow` it is needed, of the map's height and width; without a picture there is no flow.
            of: where the map lies in the frame and the frame's session, say; something else than last starts afresh.

        Returns:
            uint8 of that shape, a new array.
        """
        if of != self._of:
            self.reset()
        self._of = of
        before, self._picture = self._picture, picture
        seen = before is not None and picture is not None and before.shape == picture.shape
        if before is not None and picture is not None and (not seen or scene_distance(before, picture) > CUT):
            self.reset()
            self._picture = picture
        if self._state is None or self._shape != probability.shape:
            self._shape = probability.shape
            self._state = probability.reshape(-1, probability.shape[-1]).astype(np.float32)
            self._shown = np.array(probability)
            return np.array(probability)
        if self.flow and before is not None and picture is not None:
            self._motion = self._motion or Motion()
            self._state = self._motion.moved(self._state, self._motion.between(before, picture))
        self._mix(probability.reshape(self._state.shape), self._state)
        return self._show(self._state)

    def _mix(self, new: Probability, state: npt.NDArray[np.float32]) -> None:
        import cv2

        # In OpenCV and not in numpy, which takes twice as long and keeps the other threads waiting meanwhile.
        weights = cv2.LUT(new, self._weights)
        cv2.subtract(state, new, dst=state, dtype=cv2.CV_32F)
        cv2.multiply(state, weights, dst=state)
        cv2.add(state, new, dst=state, dtype=cv2.CV_32F)

    def _show(self, state: npt.NDArray[np.float32]) -> Probability:
        import cv2

        if any(self.hold) and self._shown is not None:
            push = cv2.LUT(self._shown.reshape(state.shape), self._pushes)
            # Clipped below by hand: convertScaleAbs would turn a negative into a positive.
            state = cast("npt.NDArray[np.float32]", cv2.max(cv2.add(state, push), 0.0))  # type: ignore[call-overload]
        shown = cast(Probability, cv2.convertScaleAbs(state).reshape(self._shape))
        self._shown = shown.copy() if any(self.hold) else None
        return shown

    def reset(self) -> None:
        """Forget the past: for a cut, another camera, or pictures that have nothing to do with each other."""
        self._state = self._shown = self._picture = None


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

    def forget(self) -> None:
        """For a frame that another model ran."""
        self._last = self._of = None


def _entropy_squared() -> npt.NDArray[np.float32]:
    p = np.arange(256) / 255
    inner = p[1:-1]
    entropy = np.zeros(256)
    entropy[1:-1] = -inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner)
    return np.square(entropy).astype(np.float32)


def _pushes(hold: tuple[float, float], threshold: float) -> npt.NDArray[np.float32]:
    """For each byte that was shown before, what is added now."""
    side = np.clip((np.arange(256) - 255 * threshold) / (255 * HOLD_RAMP), -1, 1)
    return np.asarray(255 * np.where(side > 0, hold[1], hold[0]) * side, np.float32)
