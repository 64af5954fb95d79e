"""What the frame before might have said: the kinds and their shares, and the thin plate against SciPy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeseg.config import from_mapping
from edgeseg.data.memory import Memory, remember, thin_plate
from edgeseg.errors import UsageError

CONFIG = Memory()
NEVER = replace(CONFIG, empty=0.0, moved=0.0, wrong=0.0)


def sample() -> tuple[np.ndarray, np.ndarray]:
    """A bright square on black, and its mask."""
    mask = np.zeros((96, 128), np.uint8)
    mask[30:70, 40:90] = 1
    return np.repeat(mask[..., None] * np.uint8(200), 3, axis=2), mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def overlaps(config: Memory, count: int = 40) -> list[float]:
    """IoU of the remembered mask and the truth of the sample that goes with it."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        _, mask, previous = remember(rng, *sample(), config)
        found.append(overlap(previous > 127, mask == 1))
    return found


def test_nothing_is_remembered_in_its_share() -> None:
    rng = np.random.default_rng(1)
    empty = [not remember(rng, *sample(), CONFIG)[2].any() for _ in range(400)]
    # The large maps may move the square out of view now and then.
    assert 0.2 < np.mean(empty) < 0.35


def test_a_small_map_is_followed_and_a_large_one_is_wrong() -> None:
    near, far = overlaps(replace(NEVER, moved=1.0)), overlaps(replace(NEVER, wrong=1.0))
    assert np.mean(near) > 0.75 and max(near) < 1.0
    assert np.mean(far) < 0.5


def test_the_picture_moves_and_what_is_remembered_stays() -> None:
    rng = np.random.default_rng(2)
    image, mask = sample()
    moved, truth, previous = remember(rng, image, mask, NEVER)
    assert np.array_equal(previous > 127, mask == 1)
    assert 0.6 < overlap(truth == 1, mask == 1) < 1.0
    # Picture and truth moved together.
    assert overlap(moved[..., 0] > 100, truth == 1) > 0.97


def test_the_truth_stays_where_nothing_moves() -> None:
    image, mask = sample()
    for config in (replace(NEVER, empty=1.0), replace(NEVER, moved=1.0), replace(NEVER, wrong=1.0)):
        same, truth, previous = remember(np.random.default_rng(3), image, mask, config)
        assert same is image and truth is mask
        assert previous.dtype == np.uint8 and previous.shape == mask.shape


def test_borders_are_soft() -> None:
    _, _, previous = remember(np.random.default_rng(4), *sample(), replace(NEVER, moved=1.0))
    assert len(np.unique(previous)) > 10


def test_the_same_numbers_give_the_same_sample() -> None:
    one, other = (remember(np.random.default_rng(7), *sample(), CONFIG) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_thin_plate_is_that_of_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate", reason="scipy is not installed")
    rng = np.random.default_rng(5)
    points, moves = rng.uniform(0, 60, (9, 2)), rng.normal(0, 4, (9, 2))
    rows, columns = np.mgrid[0:40, 0:60]
    pixels = np.column_stack([columns.ravel(), rows.ravel()])
    wanted = interpolate.RBFInterpolator(points, moves, kernel="thin_plate_spline")(pixels).reshape(40, 60, 2)
    np.testing.assert_allclose(thin_plate(points, moves, (40, 60)), wanted, atol=1e-3)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match=r"impossible shares of memories: empty, moved, wrong: \(0\.5, 0\.4, 0\.3\)"):
        Memory(empty=0.5, moved=0.4, wrong=0.3)


def test_a_part_of_the_settings_leaves_the_rest_as_it_was() -> None:
    made = from_mapping(Memory, {"small": {"shift": 0.05}}, "memory")
    assert made.small == replace(CONFIG.small, shift=0.05) and made.large == CONFIG.large
