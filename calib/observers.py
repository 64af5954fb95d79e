"""Observers: what each one keeps of a tensor's values, and the range it picks for symmetric int8.

A range is (low, high); int8 takes the larger magnitude T of both, in steps of T / 127. Min-max keeps the extremes,
the moving average those of a typical frame (as in training with rounded values: Jacob et al. 2018). The others keep a
histogram of magnitudes and give up rare large values for finer steps: percentile at a fixed share, MSE at the least
squared error, entropy at the least Kullback-Leibler divergence (Migacz, "8-bit inference with TensorRT", 2017). All
are streaming: memory does not grow with the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

BINS = 4096
LEVELS = 127  # largest int8 step of a symmetric scale
PERCENTILE = 99.99
MOMENTUM = 0.9
# Thresholds tried as shares of the largest magnitude.
_SHARES = np.linspace(0.2, 1.0, 161)


class MinMax:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def observe(self, values: npt.NDArray[np.float32], more: bool = False) -> None:
        """Take in one tensor's values, any shape; with `more`, they belong to the frame of those before."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def range(self) -> tuple[float, float]:
        """(low, high) so far."""
        return float(self.low), float(self.high)


class MovingAverage(MinMax):
    """The smallest and the largest value of a frame, averaged: `MOMENTUM` of what was, the rest of what is."""

    def observe(self, values: npt.NDArray[np.float32], more: bool = False) -> None:
        if not more:
            self._frame, self._before = MinMax(), (self.low, self.high)
        self._frame.observe(values)
        low, high = self._frame.range()
        if self._before[0] <= self._before[1]:
            low, high = (MOMENTUM * b + (1 - MOMENTUM) * n for b, n in zip(self._before, (low, high), strict=True))
        self.low, self.high = low, high


class Magnitudes(MinMax):
    """A histogram of |x| in `BINS` equal bins; when a value lies above the last one, bins are merged in pairs.

    Args:
        threshold: (counts [BINS], bin width) -> largest magnitude that int8 should still represent.
    """

    def __init__(self, threshold: Callable[[npt.NDArray[np.float64], float], float]) -> None:
        super().__init__()
        self.counts, self.width, self._threshold = np.zeros(BINS), 0.0, threshold

    def observe(self, values: npt.NDArray[np.float32], more: bool = False) -> None:
        super().observe(values)
        magnitudes = np.abs(values).ravel()
        top = float(magnitudes.max())
        if top == 0.0:
            # Zero is exact in every symmetric scale, so it says nothing about where to cut.
            return
        if self.width == 0.0:
            self.width = top / BINS
        while top > self.width * BINS * (1 + 1e-6):
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2)])
            self.width *= 2
        magnitudes = magnitudes[magnitudes > 0]
        places = np.minimum((magnitudes / self.width).astype(np.int64), BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def range(self) -> tuple[float, float]:
        if self.width == 0.0:
            return super().range()
        top = min(self._threshold(self.counts, self.width), max(abs(self.low), abs(self.high)))
        return max(float(self.low), -top), min(float(self.high), top)


def percentile_threshold(counts: npt.NDArray[np.float64], width: float) -> float:
    """The magnitude below which `PERCENTILE` percent of the non-zero values lie."""
    reached = np.cumsum(counts) >= counts.sum() * PERCENTILE / 100
    return float((int(np.argmax(reached)) + 1) * width)


def mse_threshold(counts: npt.NDArray[np.float64], width: float) -> float:
    """The threshold with the least squared error of rounding and clipping together."""
    centres = (np.arange(BINS) + 0.5) * width
    top = _top(counts, width)
    errors = []
    for share in _SHARES:
        step = share * top / LEVELS
        rounded = np.minimum(np.rint(centres / step), LEVELS) * step
        errors.append(float(np.sum(counts * (centres - rounded) ** 2)))
    return float(_SHARES[int(np.argmin(errors))] * top)


def entropy_threshold(counts: npt.NDArray[np.float64], width: float) -> float:
    """The threshold whose quantized distribution diverges least from the true one."""
    last = int(np.flatnonzero(counts)[-1]) + 1
    best, threshold = np.inf, last * width
    for end in range(LEVELS + 1, last + 1, max(1, (last - LEVELS) // 128)):
        divergence = _divergence(counts, end)
        if divergence < best:
            best, threshold = divergence, end * width
    return float(threshold)


def _divergence(counts: npt.NDArray[np.float64], end: int) -> float:
    """KL divergence of the first `end` bins, outliers gathered in the last, from their quantization to 128 levels."""
    kept = counts[:end]
    true = kept.copy()
    true[-1] += counts[end:].sum()
    level = np.minimum(np.arange(end) * (LEVELS + 1) // end, LEVELS)
    filled = kept > 0
    sums = np.bincount(level, kept, LEVELS + 1)
    slots = np.bincount(level, filled.astype(np.float64), LEVELS + 1)
    model = np.where(filled, (sums / np.maximum(slots, 1))[level], 0.0)
    # A bin that holds outliers only has no model: a small share stands in for zero, as the logarithm needs one.
    p, q = true / true.sum(), np.maximum(model / max(model.sum(), 1.0), 1e-9)
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / q[seen])))


def _top(counts: npt.NDArray[np.float64], width: float) -> float:
    return float((int(np.flatnonzero(counts)[-1]) + 1) * width)


METHODS: Mapping[str, Callable[[], MinMax]] = {
    "minmax": MinMax,
    "moving-average": MovingAverage,
    "percentile": lambda: Magnitudes(percentile_threshold),
    "entropy": lambda: Magnitudes(entropy_threshold),
    "mse": lambda: Magnitudes(mse_threshold),
}
