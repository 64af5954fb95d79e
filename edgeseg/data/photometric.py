"""Changes of light, colour and quality that leave the mask as it is. uint8 [H, W, 3] BGR in and out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.types import Image


@dataclass(frozen=True, slots=True)
class Photometric:
    """Probability of each change."""

    light: float = 0.7
    dark: float = 0.12
    colour: float = 0.5
    gray: float = 0.08
    blur: float = 0.15
    coarse: float = 0.12
    noise: float = 0.25
    jpeg: float = 0.35


def change(image: Image, rng: np.random.Generator, odds: Photometric) -> Image:
    """Draw each change with its probability and apply those that came up, in the order a camera would."""
    if rng.random() < odds.light:
        image = _curve(
            image,
            rng.uniform(0.7, 1.5),
            rng.uniform(0.7, 1.3, 3) * 0.3 + 0.7 * rng.uniform(0.65, 1.35),
            rng.uniform(-30, 30),
        )
    if rng.random() < odds.colour:
        image = _saturate(image, rng.uniform(0.4, 1.6), int(rng.integers(-8, 9)))
    dark = rng.random() < odds.dark
    if dark:
        image = _curve(image, rng.uniform(1.2, 2.4), np.full(3, rng.uniform(0.25, 0.7)), 0.0)
    if rng.random() < odds.gray:
        image = _saturate(image, 0.0, 0)
    if rng.random() < odds.blur:
        image = _blur(image, rng)
    if rng.random() < odds.coarse:
        image = _coarse(image, rng.uniform(0.35, 0.8))
    if dark or rng.random() < odds.noise:
        image = _noise(image, rng)
    if rng.random() < odds.jpeg:
        image = _jpeg(image, int(rng.integers(20, 90)))
    return image


def _curve(image: Image, gamma: float, gains: np.ndarray, offset: float) -> Image:
    import cv2

    ramp = 255.0 * (np.arange(256) / 255.0) ** gamma
    table = np.clip(ramp[:, None] * np.asarray(gains)[None, :] + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])  # type: ignore[return-value]


def _saturate(image: Image, factor: float, hue: int) -> Image:
    import cv2

    if factor == 0.0:
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    ids = np.arange(256)
    table = np.stack([(ids + hue) % 180, np.clip(ids * factor, 0, 255), ids], axis=1).astype(np.uint8)
    return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2BGR)  # type: ignore[return-value]


def _blur(image: Image, rng: np.random.Generator) -> Image:
    import cv2

    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))  # type: ignore[return-value]
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    end = rng.integers(0, length, 2)
    cv2.line(kernel, (int(end[0]), 0), (length - 1 - int(end[0]), length - 1), 1.0)
    kernel = kernel if rng.random() < 0.5 else kernel.T.copy()
    return cv2.filter2D(image, -1, kernel / kernel.sum())  # type: ignore[return-value]


def _coarse(image: Image, factor: float) -> Image:
    import cv2

    height, width = image.shape[:2]
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _noise(image: Image, rng: np.random.Generator) -> Image:
    import cv2

    # OpenCV draws this several times faster than numpy; it is seeded from the sample's own generator.
    strength = rng.uniform(2.0, 14.0)
    grain: npt.NDArray[np.int16] = np.zeros(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 31)))
    cv2.randn(grain, np.zeros(3), np.full(3, strength))
    return cv2.add(image, grain, dtype=cv2.CV_8U)  # type: ignore[return-value]


def _jpeg(image: Image, quality: int) -> Image:
    import cv2

    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[return-value]
