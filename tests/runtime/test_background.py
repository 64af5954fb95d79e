"""Backgrounds: soft edges that follow the picture, blur without glow, colours and pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import PERSON

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.alpha import soft_alpha
from edgeseg.runtime.background import Background, Scene
from edgeseg.types import Frame, Result

RED, BLUE = (30, 40, 200), (180, 60, 20)


def disc(width: int = 640, height: int = 480, coarse: int = 16, probability: bool = True) -> tuple[Result, np.ndarray]:
    """A red disc on a blue ground, labelled as by a model that sees it `coarse` times smaller; and where it is."""
    truth = np.zeros((height, width), np.uint8)
    cv2.circle(truth, (width // 2, height // 2), min(width, height) // 4, 255, -1)
    image = np.where(truth[..., None] > 0, RED, BLUE).astype(np.uint8)
    small = cv2.resize(truth, (max(1, width // coarse), max(1, height // coarse)), interpolation=cv2.INTER_AREA)
    seen = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    labels = (seen >= 128).astype(np.uint8)
    return Result(labels, seen if probability else None, None, Frame(image, 0, 0), PERSON), truth / 255.0


def error(alpha: np.ndarray, truth: np.ndarray) -> float:
    """Mean difference, over what is near the border."""
    near = cv2.dilate(cv2.morphologyEx(truth, cv2.MORPH_GRADIENT, np.ones((3, 3))), np.ones((33, 33))) > 0
    return float(np.abs(alpha - truth)[near].mean())


@pytest.mark.parametrize("probability", [True, False])
def test_edges_follow_the_picture(probability: bool) -> None:
    result, truth = disc(probability=probability)
    alpha = soft_alpha(result)
    assert alpha.dtype == np.float32 and alpha.shape == truth.shape and alpha.min() >= 0 and alpha.max() <= 1
    seen = disc()[0].probability
    assert seen is not None
    assert error(alpha, truth) < 0.7 * min(error(result.label_map, truth), error(seen / 255.0, truth))
    # Deep inside and far outside nothing is left of the other.
    assert alpha[220:260, 300:340].min() == 1.0
    assert alpha[:60].max() == 0.0


def test_where_nothing_in_the_picture_tells_the_border_is_the_model_s() -> None:
    result, truth = disc(coarse=8)
    flat = Result(result.label_map, result.probability, None, Frame(np.full((480, 640, 3), 90, np.uint8), 0, 0), PERSON)
    alpha = soft_alpha(flat)
    assert error(alpha, truth) < 0.15
    assert float(np.abs((alpha >= 0.5) - truth).mean()) < 0.01
    # It is soft: no step of more than a quarter from one pixel to the next.
    assert np.abs(np.diff(alpha, axis=1)).max() < 0.25


def test_a_threshold_moves_the_border() -> None:
    result, _ = disc()
    assert result.probability is not None
    flat = Frame(np.full((480, 640, 3), 90, np.uint8), 0, 0)
    shares = []
    for threshold in (0.2, 0.8):
        labels = (result.probability >= threshold * 255).astype(np.uint8)
        shares.append(soft_alpha(Result(labels, result.probability, None, flat, PERSON), threshold).mean())
    assert shares[0] > 1.1 * shares[1]


@pytest.mark.parametrize("width, height", [(1, 1), (1, 7), (7, 1), (3, 500), (63, 47), (64, 48)])
@pytest.mark.parametrize("scene", ["blur", "#204060"])
def test_odd_sizes(width: int, height: int, scene: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    whole, none = np.ones((height, width), np.uint8), np.zeros((height, width), np.uint8)
    draw = Background(Scene.parse(scene))
    everything = draw(Result(whole, None, None, Frame(image, 0, 0), PERSON))
    np.testing.assert_allclose(everything, image, atol=1)
    nothing = draw(Result(none, none, None, Frame(image, 1, 0), PERSON))
    assert nothing.shape == image.shape
    if scene != "blur":
        assert (nothing == (0x60, 0x40, 0x20)).all()


def test_a_blur_leaves_no_glow_around_the_foreground() -> None:
    result, truth = disc(coarse=2)
    drawn = Background(Scene.parse("blur:1"))(result)
    plain = cv2.GaussianBlur(result.frame.image, (0, 0), 24)
    ring = (cv2.dilate(truth, np.ones((41, 41))) > 0) & ~(cv2.dilate(truth, np.ones((11, 11))) > 0)
    assert np.abs(plain[ring].astype(int) - BLUE).max() > 60  # what a plain blur does there
    assert np.abs(drawn[ring].astype(int) - BLUE).max() <= 10
    assert np.abs(drawn[200:280, 280:360].astype(int) - RED).max() <= 1


def test_a_blur_blurs_more_the_stronger_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    labels = np.zeros((240, 320), np.uint8)
    result = Result(labels, None, None, Frame(image, 0, 0), PERSON)
    weak, usual, strong = (Background(Scene.parse(text))(result) for text in ("blur:0.1", "blur", "blur:1"))
    assert image.std() > 3 * weak.std() > 6 * usual.std() and usual.std() > strong.std() > 0
    # Without a foreground it is the plain blur of the frame.
    sigma = 0.5 * 0.05 * 240
    plain = cv2.GaussianBlur(image, (0, 0), sigma)
    assert np.abs(usual.astype(int) - plain).mean() < 1.5


def test_a_picture_covers_the_frame_from_its_middle(tmp_path: Path) -> None:
    picture = np.zeros((100, 400, 3), np.uint8)
    picture[:, 140:260] = (10, 200, 30)
    cv2.imwrite(str(tmp_path / "beach.png"), picture)
    labels = np.zeros((200, 200), np.uint8)
    draw = Background(Scene.parse(str(tmp_path / "beach.png")))
    for size in (200, 50, 200):  # also after a change of size
        labels = np.zeros((size, size), np.uint8)
        image = draw(Result(labels, None, None, Frame(np.zeros((size, size, 3), np.uint8), 0, 0), PERSON))
        assert image.shape == (size, size, 3) and (image == (10, 200, 30)).all()


def test_outputs_that_draw_one_result_share_the_picture() -> None:
    results = [disc(64, 48)[0] for _ in range(6)]
    draw = Background(Scene.parse("#000000"))
    first = [draw(result) for result in results]
    assert all(draw(result) is image for result, image in zip(results[2:], first[2:], strict=True))
    assert draw(results[0]) is not first[0]
    np.testing.assert_array_equal(draw(results[0]), first[0])


@pytest.mark.parametrize("text", ["blur:", "blur:0", "blur:1.1", "blur:x", "blur:nan", "#12", "#12345g", "#1234567"])
def test_a_word_that_means_nothing(text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Scene.parse(text)


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name, told in (("text.png", "cannot be read"), (".", "no such"), ("no.png", "no such")):
        with pytest.raises(InputError, match=told) as caught:
            Scene.parse(str(tmp_path / name))
        assert "blur:STRENGTH" in caught.value.todo
