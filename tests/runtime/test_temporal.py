"""Smoothing: against the formula in floats, convergence, motion, hold, resets, and wrong arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from stand_ins import person_manifest

from edgeseg.errors import UsageError
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.motion import CUT, Motion, scene_distance
from edgeseg.runtime.temporal import HOLD, HOLD_RAMP, STEADY, Memory, Smoother, check_smoothing


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
    assert np.array_equal(smoother(bright, of="another camera"), bright)
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
    def read(text: str) -> tuple[str, float, bool, tuple[float, float]]:
        smoother = Smoother.parse(text)
        return smoother.method, smoother.strength, smoother.flow, smoother.hold

    none = (0.0, 0.0)
    assert read("exponential:0.25") == ("exponential", 0.25, False, none)
    assert read("uncertainty") == ("uncertainty", 0.7, False, none)
    assert read("exponential:0.6+flow+hold") == ("exponential", 0.6, True, HOLD)
    assert read("uncertainty+hold") == ("uncertainty", 0.7, False, HOLD)
    assert read("steady") == read(STEADY)


@pytest.mark.parametrize(
    "text",
    ["expontial", "uncertainty:1", "uncertainty:-0.1", "uncertainty:x", "exponential:nan", "exponential+flaw", "+flow"],
)
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


# Motion, hold, cuts


def texture(rng: np.random.Generator, side: int = 96) -> np.ndarray:
    """A picture of blobs, uint8 [side, side], which flow can follow."""
    import cv2

    noise = rng.integers(0, 256, (side // 6, side // 6), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC))


def test_flow_finds_where_a_shifted_picture_was() -> None:
    before = texture(np.random.default_rng(0))
    now = np.roll(before, (3, -4), axis=(0, 1))
    origins = Motion().between(before, now)
    rows, columns = np.mgrid[0:96, 0:96]
    inner = np.s_[16:-16, 16:-16]
    assert np.abs(origins[..., 0] - (columns + 4))[inner].mean() < 0.3
    assert np.abs(origins[..., 1] - (rows - 3))[inner].mean() < 0.3
    # And values are brought along: those of the old picture are those of the new one.
    moved = Motion.moved(before.astype(np.float32), origins)
    assert np.abs(moved - now)[inner].mean() < 0.2 * np.abs(before.astype(float) - now)[inner].mean()


def test_flow_takes_the_past_along() -> None:
    picture = 80 + texture(np.random.default_rng(1)) // 3
    square = np.zeros((1, 96, 96), np.uint8)
    square[0, 30:60, 30:60] = 255
    shadows = {}
    for flow in (False, True):
        smoother = Smoother("exponential", 0.8, flow)
        for step in range(8):
            shift = (0, 2 * step)
            smoothed = smoother(np.roll(square, shift, (1, 2)), np.roll(picture, shift, (0, 1)))
        target = np.roll(square, (0, 14), (1, 2))
        shadows[flow] = float(np.abs(smoothed.astype(float) - target).sum())
    assert shadows[True] < 0.25 * shadows[False]


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_hold_turns_a_label_only_beyond_its_numbers(threshold: float) -> None:
    out, back = 0.15, 0.1
    cut = math.ceil(255 * threshold)

    def turns(first: float, then: float) -> bool:
        """Whether a pixel's label changes from one frame to the next."""
        smoother = Smoother("exponential", 0.0, hold=(out, back), threshold=threshold)
        maps = [smoother(np.full((1, 4, 4), round(255 * p), np.uint8)) for p in (first, then)]
        return bool((maps[0][0, 0, 0] >= cut) != (maps[1][0, 0, 0] >= cut))

    sure = HOLD_RAMP + 0.02
    assert not turns(threshold - sure, threshold + out - 0.02)
    assert turns(threshold - sure, threshold + out + 0.02)
    assert not turns(threshold + sure, threshold - back + 0.02)
    assert turns(threshold + sure, threshold - back - 0.02)


def test_hold_stays_within_bytes() -> None:
    smoother = Smoother("exponential", 0.0, hold=HOLD)
    for byte in (0, 0, 3, 250, 255, 255):
        shown = int(smoother(np.full((1, 4, 4), byte, np.uint8))[0, 0, 0])
        assert shown in (range(4) if byte < 4 else range(200, 256))


def test_a_cut_starts_afresh_and_a_shaken_camera_does_not() -> None:
    picture = 60 + texture(np.random.default_rng(2)) // 2
    shaken, other = np.roll(picture, (1, 2), (0, 1)), 255 - picture
    assert scene_distance(picture, shaken) < CUT < scene_distance(picture, other)
    dark, bright = np.zeros((1, 96, 96), np.uint8), np.full((1, 96, 96), 200, np.uint8)
    for flow in (False, True):
        for then, wanted in ((shaken, False), (other, True), *([] if flow else [(picture[:50], True)])):
            smoother = Smoother("exponential", 0.5, flow)
            smoother(dark, picture)
            assert bool((smoother(bright, then) == bright).all()) == wanted
            if wanted:  # and the picture behind the cut is what the next one is compared with
                assert not (smoother(dark, then) == dark).any()


def test_more_classes_give_labels_and_are_refused() -> None:
    with pytest.raises(UsageError, match="others give labels"):
        check_smoothing(Smoother(), person_manifest(outputs=("label_map",)))
    tiled = person_manifest(output_height=16, output_width=16)
    check_smoothing(Smoother("exponential"), tiled)
    with pytest.raises(UsageError, match=r"Leave \+flow out"):
        check_smoothing(Smoother("exponential", flow=True), tiled)
