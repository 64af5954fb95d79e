"""Observers against values whose best range is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.calib.observers import BINS, METHODS, Magnitudes, MinMax, mse_threshold


def observed(method: str, *parts: npt.NDArray[np.float32]) -> MinMax:
    observer = METHODS[method]()
    for part in parts:
        observer.observe(part)
    return observer


def test_minmax_keeps_the_extremes() -> None:
    observer = observed("minmax", np.array([[1, -2]], np.float32), np.array([5, 0], np.float32))
    assert observer.range() == (-2.0, 5.0)


def test_the_moving_average_is_that_of_the_frames_extremes() -> None:
    parts = [np.array([0.0, 4.0], np.float32), np.array([-2.0, 8.0], np.float32), np.array([-1.0, 2.0], np.float32)]
    # By hand: 4 -> 0.9 * 4 + 0.1 * 8 = 4.4 -> 0.9 * 4.4 + 0.1 * 2 = 4.16; 0 -> -0.2 -> -0.28.
    assert observed("moving-average", *parts).range() == pytest.approx((-0.28, 4.16))
    assert observed("moving-average", parts[1]).range() == (-2.0, 8.0)
    # A frame in parts is one frame.
    observer = METHODS["moving-average"]()
    for value, more in ((0.0, False), (4.0, True), (-2.0, False), (8.0, True), (-1.0, False), (2.0, True)):
        observer.observe(np.array([value], np.float32), more)
    assert observer.range() == pytest.approx((-0.28, 4.16))


def test_the_histogram_grows_without_losing_counts() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, width, 5000).astype(np.float32) for width in (0.1, 1, 30, 5)]
    observer = Magnitudes(mse_threshold)
    for part in parts:
        observer.observe(part)
    everything = np.abs(np.concatenate(parts))
    assert observer.counts.sum() == everything.size
    edges = np.arange(BINS + 1) * observer.width
    exact, _ = np.histogram(everything, edges)
    # Values on a border may fall to either side in float32.
    assert np.abs(np.cumsum(exact) - np.cumsum(observer.counts)).max() <= 5


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_rare_outliers_are_given_up(method: str) -> None:
    values = np.random.default_rng(1).normal(0, 1, 200_000).astype(np.float32)
    values[:3] = 60.0
    low, high = observed(method, values).range()
    assert 2.0 < high < 50.0
    assert low > -50.0


@pytest.mark.parametrize("method", list(METHODS))
def test_flat_values_keep_their_range(method: str) -> None:
    values = np.linspace(0, 6, 100_000, dtype=np.float32)
    low, high = observed(method, values).range()
    assert low == 0.0 and 5.5 < high <= 6.0


def test_mse_finds_the_least_error() -> None:
    values = np.random.default_rng(2).laplace(0, 1, 60_000).astype(np.float32)
    _, high = observed("mse", values).range()

    def error(threshold: float) -> float:
        step = threshold / 127
        return float(np.mean((values - np.clip(np.rint(values / step), -127, 127) * step) ** 2))

    candidates = np.linspace(2, float(np.abs(values).max()), 200)
    assert error(high) <= 1.02 * min(error(candidate) for candidate in candidates)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "moving-average"])
def test_zeros_and_tiny_tensors(method: str) -> None:
    assert observed(method, np.zeros(4, np.float32)).range() == (0.0, 0.0)
    low, high = observed(method, np.zeros(3, np.float32), np.array([0.5], np.float32)).range()
    assert low == 0.0 and high == pytest.approx(0.5, rel=0.01)
