"""Outputs to label maps: the threshold's byte, the way back from stretch and letterbox, odd sizes, other models."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import person_manifest

from edgeseg.errors import ModelError, UsageError
from edgeseg.runtime.geometry import fit_geometry
from edgeseg.runtime.postprocess import Postprocessor, threshold_byte
from edgeseg.runtime.preprocess import Preprocessor
from edgeseg.types import ClassInfo

SIZES = [(48, 64), (20, 64), (101, 37), (1, 90), (90, 1), (1, 1), (300, 401)]


def bilinear(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """The slow reference: half-pixel centres, edges repeated, in floats."""

    def taps(old: int, new: int) -> np.ndarray:
        weights = np.zeros((new, old))
        for row in range(new):
            at = min(max((row + 0.5) * old / new - 0.5, 0.0), old - 1.0)
            low = int(at)
            weights[row, low] += 1 - (at - low)
            weights[row, min(low + 1, old - 1)] += at - low
        return weights

    return taps(values.shape[0], height) @ values @ taps(values.shape[1], width).T


def test_the_byte_of_a_threshold() -> None:
    thresholds = (0.0, 1e-6, 0.2, 0.5, 0.6, 0.7, 1.0)
    assert [threshold_byte(threshold) for threshold in thresholds] == [0, 1, 51, 128, 153, 179, 255]


def test_a_byte_is_its_own_threshold() -> None:
    assert [threshold_byte(byte / 255) for byte in range(256)] == list(range(256))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_labels_are_one_from_the_threshold_on(threshold: float) -> None:
    manifest = person_manifest(height=16, width=16)
    probability = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    geometry = fit_geometry("stretch", 16, 16, 16, 16)
    label_map, given, _ = Postprocessor(manifest, threshold)({"probability": probability}, geometry)
    assert np.array_equal(label_map.ravel(), np.arange(256) / 255 >= threshold)
    assert np.array_equal(given, probability[0])
    assert not np.shares_memory(given, probability)


def test_the_manifest_decides_unless_told() -> None:
    manifest = person_manifest(threshold=0.9, height=1, width=3)
    outputs = {"probability": np.array([[[127, 128, 240]]], np.uint8)}
    geometry = fit_geometry("stretch", 1, 3, 1, 3)
    assert Postprocessor(manifest)(outputs, geometry)[0].tolist() == [[0, 0, 1]]
    assert Postprocessor(manifest, 0.5)(outputs, geometry)[0].tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("frame", SIZES)
def test_the_probability_is_resized_bilinearly_to_the_frame(fit: str, frame: tuple[int, int]) -> None:
    manifest = person_manifest(fit=fit, height=48, width=64)
    geometry = fit_geometry(fit, *frame, 48, 64)
    values = np.random.default_rng(0).integers(0, 256, (1, 48, 64), dtype=np.uint8)
    label_map, probability, _ = Postprocessor(manifest)({"probability": values}, geometry)
    assert label_map.shape == probability.shape == frame
    assert label_map.dtype == probability.dtype == np.uint8
    assert np.array_equal(label_map, probability >= 128)
    assert np.abs(probability - bilinear(geometry.area(values[0]), *frame)).max() <= 1.0


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_shape_comes_back_where_it_was(fit: str) -> None:
    """There and back again: a rectangle in the frame is found at the same place, whatever the input's proportions."""
    manifest = person_manifest(fit=fit, height=64, width=96)
    for height, width in ((90, 160), (160, 90), (77, 77), (480, 640)):
        frame = np.zeros((height, width, 3), np.uint8)
        rows, columns = slice(height // 4, height // 2), slice(width // 3, width - 1 - width // 5)
        frame[rows, columns] = 255
        batch, geometry = Preprocessor(manifest)(frame)
        found = Postprocessor(manifest)({"probability": batch[..., 0]}, geometry)[0].astype(bool)
        wanted = frame[..., 0] > 0
        step = max(height / geometry.height, width / geometry.width)
        border = 2 * (np.ptp(np.flatnonzero(wanted.any(1))) + np.ptp(np.flatnonzero(wanted.any(0)))) * max(step, 1)
        assert np.count_nonzero(found != wanted) <= border
        centre = np.argwhere(found).mean(0) - np.argwhere(wanted).mean(0)
        assert np.abs(centre).max() <= max(step, 1)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("frame", SIZES)
def test_more_classes_take_the_nearest_label(fit: str, frame: tuple[int, int]) -> None:
    classes = tuple(ClassInfo(n, f"class {n}", (n, n, n)) for n in range(5))
    manifest = person_manifest(classes=classes, outputs=("label_map",), fit=fit, height=48, width=64)
    geometry = fit_geometry(fit, *frame, 48, 64)
    values = np.random.default_rng(0).integers(0, 5, (1, 48, 64), dtype=np.uint8)
    label_map, probability, _ = Postprocessor(manifest)({"label_map": values}, geometry)
    assert probability is None
    assert label_map.shape == frame
    # The pixel of the area that holds the centre of the frame's pixel; on an edge between two, either.
    rows = (np.arange(frame[0]) + 0.5) * geometry.height / frame[0]
    columns = (np.arange(frame[1]) + 0.5) * geometry.width / frame[1]
    allowed = [
        geometry.area(values[0])[np.ix_((rows + dy).astype(int), (columns + dx).astype(int))]
        for dy in (-1e-3, 1e-3)
        for dx in (-1e-3, 1e-3)
    ]
    assert np.any([label_map == labels for labels in allowed], axis=0).all()
    assert not np.shares_memory(label_map, values)


def test_results_are_not_overwritten_by_the_next_frame() -> None:
    post = Postprocessor(person_manifest())
    geometry = fit_geometry("stretch", 40, 40, 32, 32)
    first, probability, _ = post({"probability": np.full((1, 32, 32), 255, np.uint8)}, geometry)
    post({"probability": np.zeros((1, 32, 32), np.uint8)}, geometry)
    assert first.all()
    assert probability is not None and probability.all()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_is_an_error(threshold: float) -> None:
    with pytest.raises(UsageError, match="outside 0 to 1"):
        Postprocessor(person_manifest(), threshold)


def test_another_kind_of_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"not a semantic model: .*instance"):
        Postprocessor(person_manifest(task="instance", outputs=("boxes", "scores", "classes", "masks")))
    with pytest.raises(UsageError, match="no foreground probability"):
        Postprocessor(person_manifest(outputs=("label_map",)), 0.5)
