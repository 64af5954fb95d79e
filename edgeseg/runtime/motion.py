"""What moved between two pictures of a stream, and whether they belong to one scene at all."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]  # [H, W], luma
Values = npt.NDArray[np.float32]  # [H, W]

THUMB = 16
# Of 255: above what neighbours in annotated sequences reach, which are shot by hand, and below what pictures of
# different ones are apart (benchmarks/temporal.py measures both).
CUT = 16.0


def gray_of(image: npt.NDArray[np.uint8]) -> Gray:
    """The luma of a model's input uint8 [n, H, W, 3] BGR as one picture uint8 [n * H, W], a new array."""
    import cv2

    return cast(Gray, cv2.cvtColor(image.reshape(-1, *image.shape[2:]), cv2.COLOR_BGR2GRAY))


def scene_distance(before: Gray, now: Gray) -> float:
    """How differently two pictures of one size are lit, 0 to 255: the mean difference of 16 x 16 means.

    Coarse enough that a shaken camera stays small, and in place, so that a cut to a scene of the same brightness shows.
    """
    import cv2

    small = [cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA) for picture in (before, now)]
    return float(cv2.norm(small[0], small[1], cv2.NORM_L1)) / THUMB**2


class Motion:
    """Dense optical flow between neighbouring pictures: DIS (Kroeger et al. 2016), OpenCV's, preset "medium".

    The presets below it take half the time, and lose what compensation gains (benchmarks/temporal.py): their flow is
    ragged, and drags pieces of the mask along.
    """

    def __init__(self) -> None:
        import cv2

        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._grid = np.empty((0, 0, 2), np.float32)

    def between(self, before: Gray, now: Gray) -> npt.NDArray[np.float32]:
        """Where each pixel of `now` was in `before`: float32 [H, W, 2] of x and y, absolute."""
        height, width = now.shape
        if self._grid.shape[:2] != now.shape:
            self._grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32)
        # From the new to the old, so that each new pixel has one origin and none is left without.
        flow: Any = self._flow.calc(now, before, None)
        return cast("npt.NDArray[np.float32]", flow + self._grid)

    @staticmethod
    def moved(values: Values, origins: npt.NDArray[np.float32]) -> Values:
        """Values [H, W] brought along: each pixel takes what stood at its origin (bilinear, the border repeated)."""
        import cv2

        return cast(Values, cv2.remap(values, origins, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))  # type: ignore[call-overload]
