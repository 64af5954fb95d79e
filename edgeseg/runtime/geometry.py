"""Where a frame lies in the model's input, and how a map of the model gets back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Geometry:
    """The area of the model's input that shows the frame. All in pixels.

    Attributes:
        frame_height: rows of the frame.
        frame_width: columns of the frame.
        top: first row of the area.
        left: first column of the area.
        height: rows of the area.
        width: columns of the area.
    """

    frame_height: int
    frame_width: int
    top: int
    left: int
    height: int
    width: int

    def area(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of `values` [H, W], a map of the model's whole input, that shows the frame; a view."""
        return values[self.top : self.top + self.height, self.left : self.left + self.width]

    def map_of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a model's output [1, H, W] that shows the frame, [height, width]; a view."""
        return self.area(values[0])


def fit_geometry(fit: str, frame_height: int, frame_width: int, height: int, width: int) -> Geometry:
    """How a frame of `frame_height` x `frame_width` gets into an input of `height` x `width`.

    "stretch" fills the input and changes the proportions; "letterbox" keeps them: one side fits, the other is centred
    (an odd pixel of the border goes below or to the right).
    """
    if fit == "stretch":
        return Geometry(frame_height, frame_width, 0, 0, height, width)
    scale = min(height / frame_height, width / frame_width)
    rows = min(height, max(1, round(frame_height * scale)))
    columns = min(width, max(1, round(frame_width * scale)))
    return Geometry(frame_height, frame_width, (height - rows) // 2, (width - columns) // 2, rows, columns)
