"""Frames to inputs: conversion of what callers have, the resize against an exact area mean, and the letterbox."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from stand_ins import person_manifest

from edgeseg.errors import InputError
from edgeseg.runtime.geometry import fit_geometry
from edgeseg.runtime.preprocess import BORDER, Preprocessor, as_bgr, resize_image


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of all sizes and some noise, as in photographs."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for cell in (4, 16, 64):
        small = rng.normal(0, 18, (height // cell + 2, width // cell + 2, 3))
        image += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return (128 + image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def area_mean(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The slow reference: each pixel of the result is the mean of the area that it covers, computed in floats."""

    def along_rows(values: np.ndarray, count: int) -> np.ndarray:
        sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(0)])
        edges = np.linspace(0, len(values), count + 1)
        low = np.minimum(edges.astype(int), len(values) - 1)
        at_edges = sums[low] + (sums[low + 1] - sums[low]) * (edges - low)[:, None, None]
        return np.diff(at_edges, axis=0) * count / len(values)

    return along_rows(along_rows(image.astype(float), height).swapaxes(0, 1), width).swapaxes(0, 1)


@pytest.mark.parametrize(
    ("frame", "size"),
    [((720, 1280), (256, 256)), ((720, 1280), (144, 256)), ((481, 641), (256, 256)), ((97, 203), (64, 64))],
)
def test_shrinking_is_near_the_mean_of_the_area(frame: tuple[int, int], size: tuple[int, int]) -> None:
    image = picture(*frame)
    resized = resize_image(image, size[1], size[0])
    assert (resized.shape, resized.dtype) == ((*size, 3), np.uint8)
    exact = area_mean(image, size[1], size[0])
    error = np.sqrt(np.mean((resized - exact) ** 2))
    bilinear = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert error < 1.6
    assert error < 0.75 * np.sqrt(np.mean((bilinear - exact) ** 2))


@pytest.mark.parametrize("size", [(7, 5), (64, 48), (33, 90), (1, 1)])
def test_any_size_to_any_size_without_a_shift(size: tuple[int, int]) -> None:
    """A ramp stays a ramp between the same ends: a shift by half a pixel would show."""
    for height, width in ((48, 64), (31, 47), (9, 300)):
        ramp = np.linspace(0, 255, width)[None, :].repeat(height, 0)
        image = np.repeat(ramp.round().astype(np.uint8)[:, :, None], 3, axis=2)
        resized = resize_image(image, size[1], size[0])
        centres = (np.arange(size[1]) + 0.5) * width / size[1] - 0.5
        expected = np.interp(centres, np.arange(width), ramp[0])
        assert resized.shape == (*size, 3)
        assert np.abs(resized[:, :, 1] - expected).max() <= 255 / (width - 1) / 2 + 2.5


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    image = picture(32, 32)
    assert resize_image(image, 32, 32) is image
    batch, _ = Preprocessor(person_manifest())(image)
    assert np.array_equal(batch, image[np.newaxis])
    assert not np.shares_memory(batch, image)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("frame", [(32, 32), (20, 64), (64, 20), (101, 37), (1, 500), (500, 1), (720, 1280)])
def test_the_input_holds_the_frame_where_the_geometry_says(fit: str, frame: tuple[int, int]) -> None:
    manifest = person_manifest(fit=fit, height=48, width=64)
    image = picture(*frame)
    given = image.copy()
    batch, geometry = Preprocessor(manifest)(image)
    assert (batch.shape, batch.dtype, batch.flags.c_contiguous) == ((1, 48, 64, 3), np.uint8, True)
    assert np.array_equal(image, given)
    shown = geometry.area(batch[0])
    assert np.array_equal(shown, resize_image(image, geometry.width, geometry.height))
    outside = np.ones((48, 64), bool)
    geometry.area(outside)[:] = False
    assert (batch[0][outside] == BORDER).all()
    if fit == "stretch":
        assert not outside.any()


@pytest.mark.parametrize("frame", [(720, 1280), (1280, 720), (333, 1000), (100, 100)])
def test_a_letterbox_keeps_the_proportions_and_is_centred(frame: tuple[int, int]) -> None:
    geometry = fit_geometry("letterbox", *frame, 256, 256)
    assert max(geometry.height, geometry.width) == 256
    assert geometry.height / geometry.width == pytest.approx(frame[0] / frame[1], rel=0.02)
    assert abs(2 * geometry.top + geometry.height - 256) <= 1
    assert abs(2 * geometry.left + geometry.width - 256) <= 1


def test_inputs_do_not_share_memory() -> None:
    preprocess = Preprocessor(person_manifest())
    first, _ = preprocess(np.full((90, 70, 3), 10, np.uint8))
    preprocess(np.full((90, 70, 3), 200, np.uint8))
    assert (first == 10).all()


def test_pictures_of_other_kinds_are_converted() -> None:
    color = picture(9, 11)
    gray = color[:, :, 0]
    for given, expected in (
        (gray, np.repeat(gray[:, :, None], 3, 2)),
        (gray[:, :, None], np.repeat(gray[:, :, None], 3, 2)),
        (np.dstack([color, gray]), color),
        (color[::-1, ::2], color[::-1, ::2]),
        (np.asfortranarray(color), color),
        (gray.T, np.repeat(gray.T[:, :, None], 3, 2)),
        (np.dstack([color, gray])[:, ::-1], color[:, ::-1]),
    ):
        converted = as_bgr(given)
        assert (converted.dtype, converted.flags.c_contiguous) == (np.uint8, True)
        assert np.array_equal(converted, expected)
    assert as_bgr(color) is color


@pytest.mark.parametrize(
    ("array", "seen"),
    [
        (np.zeros((4, 5, 3), np.float32), "shape [4, 5, 3], dtype float32"),
        (np.zeros((4, 5, 3), np.uint16), "shape [4, 5, 3], dtype uint16"),
        (np.zeros((4, 5), bool), "shape [4, 5], dtype bool"),
        (np.zeros((0, 5, 3), np.uint8), "shape [0, 5, 3], dtype uint8"),
        (np.zeros((4, 0), np.uint8), "shape [4, 0], dtype uint8"),
        (np.zeros((1, 4, 5, 3), np.uint8), "shape [1, 4, 5, 3], dtype uint8"),
        (np.zeros((3, 4, 5), np.uint8), "shape [3, 4, 5], dtype uint8"),
        (np.zeros((4, 5, 2), np.uint8), "shape [4, 5, 2], dtype uint8"),
        (np.zeros(5, np.uint8), "shape [5], dtype uint8"),
        (np.uint8(3) * np.ones((), np.uint8), "uint8"),
        ([[1, 2], [3, 4]], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_what_it_is(array: object, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        as_bgr(array)
    assert seen in str(caught.value)
