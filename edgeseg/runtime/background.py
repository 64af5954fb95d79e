"""What stands behind people: the background blurred, or replaced by a colour or a picture.

blur | blur:0.8 | #204060 | beach.jpg
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.alpha import Alpha, soft_alpha
from edgeseg.types import Image, Result

BLUR = "blur"
FORMS = f"Give {BLUR}, {BLUR}:STRENGTH with 0 to 1, a colour as '#204060', or a picture's file"
DEFAULT_STRENGTH = 0.5
# Standard deviation of the blur at strength 1, in shares of the frame's shorter side.
WIDEST = 0.05
# Blurred at a size at which the deviation is this many pixels: no larger size can be told from it.
SMALL_SIGMA = 3.0
# Outputs that draw the same result, each in its own time, share its picture.
KEPT = 4


@dataclass(frozen=True, eq=False)
class Scene:
    """One way to fill a background.

    Attributes:
        strength: of the blur, above 0 to 1; 0 where it is replaced.
        color: BGR, in its place.
        picture: uint8 [h, w, 3] BGR of any size; comes before the colour.
    """

    strength: float = 0.0
    color: tuple[int, int, int] = (0, 0, 0)
    picture: Image | None = None

    @classmethod
    def parse(cls, text: str) -> Scene:
        """A user's word for it.

        Raises:
            UsageError: a strength outside 0 to 1, or a colour that is none.
            InputError: what else it says is no picture that can be read.
        """
        word, colon, rest = text.partition(":")
        if word == BLUR:
            return cls(strength=_strength(text, rest) if colon else DEFAULT_STRENGTH)
        if text.startswith("#"):
            if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
                raise UsageError("not a colour", text, "Give red, green and blue as in '#204060'")
            red, green, blue = bytes.fromhex(text[1:])
            return cls(color=(blue, green, red))
        return cls(picture=_read(Path(text)))

    def behind(self, image: Image, alpha: Alpha) -> Image:
        """What is seen where `alpha` is 0, uint8 [H, W, 3] of the frame's size."""
        import cv2

        height, width = image.shape[:2]
        if self.strength:
            return _blurred(image, alpha, self.strength)
        if self.picture is None:
            return np.full_like(image, self.color)
        # Covers the frame; what stands over is cut off on both sides.
        rows, columns = self.picture.shape[:2]
        stretch = max(height / rows, width / columns)
        high, wide = max(height, round(rows * stretch)), max(width, round(columns * stretch))
        how = cv2.INTER_AREA if stretch < 1 else cv2.INTER_LINEAR
        filled = cv2.resize(self.picture, (wide, high), interpolation=how)
        top, left = (high - height) // 2, (wide - width) // 2
        return np.ascontiguousarray(filled[top : top + height, left : left + width])


class Background:
    """Draws results: what is labelled as it was filmed, the background as the scene has it. Threads may share it.

    Args:
        scene: the background.
        threshold: probability from which the model's label is 1.
    """

    def __init__(self, scene: Scene, threshold: float = 0.5) -> None:
        self._scene, self._threshold = scene, threshold
        self._lock = threading.Lock()
        self._drawn: deque[tuple[Result, Image]] = deque(maxlen=KEPT)
        self._still: Image | None = None

    def __call__(self, result: Result) -> Image:
        """uint8 [H, W, 3] BGR, of the frame's size; several outputs hold it, so it is not to be changed."""
        with self._lock:
            for drawn, image in self._drawn:
                if drawn is result:
                    return image
            image = self._draw(result)
            self._drawn.append((result, image))
            return image

    def _draw(self, result: Result) -> Image:
        import cv2

        image, alpha = result.frame.image, soft_alpha(result, self._threshold)
        if self._scene.strength:
            behind = self._scene.behind(image, alpha)
        else:
            if self._still is None or self._still.shape != image.shape:
                self._still = self._scene.behind(image, alpha)
            behind = self._still
        return cast(Image, cv2.blendLinear(image, behind, alpha, 1 - alpha))


def _blurred(image: Image, alpha: Alpha, strength: float) -> Image:
    """The background alone, blurred on a small picture; the foreground leaves no glow around it.

    A pixel counts as much as it is background: the blur of colour * weight, divided by the blur of the weight
    (normalized convolution, Knutsson and Westin, CVPR 1993).
    """
    import cv2

    height, width = image.shape[:2]
    sigma = strength * WIDEST * min(height, width)
    factor = max(1.0, sigma / SMALL_SIGMA)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    # Never quite 0: deep inside the foreground there is nothing else, and nobody sees it.
    weight = 1.001 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    around = sigma / factor
    colors = np.asarray(cv2.GaussianBlur(small * weight[..., None], (0, 0), around))
    weights = np.asarray(cv2.GaussianBlur(weight, (0, 0), around))
    blurred = np.asarray(colors / weights[..., None], np.float32)
    # Rounded after it is enlarged, or the steps of 1 would show as bands.
    large = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return cast(Image, cv2.convertScaleAbs(large))


def _strength(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not 0 < value <= 1:
        raise UsageError("not a strength of the blur", text, "Give a number above 0, up to 1")
    return value


def _read(path: Path) -> Image:
    import cv2

    if not path.is_file():
        raise InputError("there is no such picture for the background", path, FORMS)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError("the background cannot be read as a picture", path, FORMS)
    return np.asarray(image, np.uint8)
