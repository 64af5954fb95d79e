"""Smoothing: against the formula in floats, convergence, resets, and wrong arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.temporal import Memory, Smoother


def weight(method: str, strength: float, byte: int) -> float:
    """The formula of the docstring, one value at a time."""
    if method == "exponential":
        return strength
    p = byte / 255
    entropy = 0.0 if byte in (0, 255) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    return strength * entropy**2


@pytest.mark.parametrize("method", ["exponential", "uncertainty"])
@pytest.mark.parametrize("strength", [0.0, 0.4, 0.95])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 5, 7), (3, 1)])
def test_follows_the_formula(method: str, strength: float, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    smoother = Smoother(method, strength)
    expected = None
    for _ in range(6):
        new = rng.integers(0, 256, shape, dtype=np.uint8)
        given = new.copy()
        smoothed = smoother(new)
        if expected is None:
            expected = new.astype(float)
        else:
            weights = np.vectorize(lambda byte: weight(method, strength, int(byte)))(new)
            expected = new + (expected - new) * weights
        assert smoothed.dtype == np.uint8
        assert np.abs(smoothed - expected).max() <= 0.501
        assert np.array_equal(new, given)


def test_a_strong_smoothing_arrives_where_it_is_going() -> None:
    smoother = Smoother("exponential", 0.95)
    smoother(np.zeros((4, 4), np.uint8))
    target = np.full((4, 4), 200, np.uint8)
    for _ in range(150):
        smoothed = smoother(target)
    assert np.array_equal(smoothed, target)


def test_uncertainty_leaves_sure_pixels_alone_and_holds_undecided_ones() -> None:
    smoother = Smoother("uncertainty", 0.9)
    smoother(np.array([[255, 0, 255]], np.uint8))
    assert smoother(np.array([[0, 255, 120]], np.uint8)).tolist() == [[0, 255, 241]]


def test_flicker_gets_less() -> None:
    rng = np.random.default_rng(1)
    smoother = Smoother()
    maps = [rng.normal(128, 40, (32, 32)).clip(0, 255).astype(np.uint8) for _ in range(20)]
    smoothed = [smoother(values) for values in maps]

    def flicker(sequence: list[np.ndarray]) -> float:
        labels = [values >= 128 for values in sequence]
        return float(np.mean([np.mean(a != b) for a, b in zip(labels, labels[1:], strict=False)]))

    assert flicker(smoothed[2:]) < 0.6 * flicker(maps[2:])


def test_reset_and_a_new_size_forget_the_past() -> None:
    smoother = Smoother("exponential", 0.9)
    smoother(np.zeros((4, 4), np.uint8))
    bright = np.full((4, 4), 255, np.uint8)
    smoother.reset()
    assert np.array_equal(smoother(bright), bright)
    larger = np.zeros((5, 4), np.uint8)
    assert np.array_equal(smoother(larger), larger)


def test_results_are_not_overwritten_by_the_next_frame() -> None:
    smoother = Smoother("exponential", 0.5)
    first = smoother(np.zeros((2, 2), np.uint8))
    second = smoother(np.full((2, 2), 100, np.uint8))
    kept = second.copy()
    smoother(np.full((2, 2), 255, np.uint8))
    assert np.array_equal(second, kept)
    assert not first.any()


def test_parse() -> None:
    smoother = Smoother.parse("exponential:0.25")
    assert (smoother.method, smoother.strength) == ("exponential", 0.25)
    assert Smoother.parse("uncertainty").strength == 0.7


@pytest.mark.parametrize("text", ["expontial", "uncertainty:1", "uncertainty:-0.1", "uncertainty:x", "exponential:nan"])
def test_wrong_arguments(text: str) -> None:
    with pytest.raises(UsageError):
        Smoother.parse(text)


def test_a_misspelt_method_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="Did you mean 'exponential'"):
        Smoother("expontial")


def test_a_memory_is_of_one_place_in_the_picture() -> None:
    memory, answer = Memory(), np.full((1, 4, 4), 9, np.uint8)
    whole, half = Geometry(8, 8, 0, 0, 4, 4), Geometry(8, 4, 0, 0, 4, 4)
    assert memory.recall(whole) is None
    memory.keep(answer, whole)
    assert memory.recall(whole) is answer and memory.recall(half) is None
