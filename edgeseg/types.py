"""The values that travel through edgeseg: frames in, results out. numpy only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # [H, W, 3], BGR as OpenCV and V4L2 hand it over
LabelMap = npt.NDArray[np.uint8]  # [H, W], class id per pixel; 255 is the ignore index
Probability = npt.NDArray[np.uint8]  # [H, W], round(255 * p) of the foreground class

IGNORE_INDEX = 255


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One row of the class map: what a label id means and how it is drawn.

    Attributes:
        id: value in the label map, 0 to 254.
        name: lower-case name ("person").
        color: BGR, 0 to 255 each.
    """

    id: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 [H, W, 3], BGR, C-contiguous.
        number: place in the source, from 0; counts frames that were dropped later, too.
        captured_ns: `time.monotonic_ns()` when the frame arrived.
        pts_s: the source's own timestamp in seconds, None where it has none.
        source: the source as the user named it.
        name: file name for a picture of a folder, None otherwise.
        session: how often the source was lost and came back before; what was remembered of frames of another session
            is no longer true.
    """

    image: Image
    number: int
    captured_ns: int
    pts_s: float | None = None
    source: str = ""
    name: str | None = None
    session: int = 0


@dataclass(frozen=True, slots=True)
class Instances:
    """Detected objects of one frame, best score first.

    Attributes:
        boxes: float32 [K, 4], x1 y1 x2 y2 in pixels of the frame; those of a letterboxed input may reach out of it.
        scores: float32 [K], 0 to 1.
        classes: int32 [K], ids of the class map.
        mask_probabilities: float32 [K, 28, 28], 0 to 1, relative to the box.
        size: (height, width) of the frame.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]
    mask_probabilities: npt.NDArray[np.float32]
    size: tuple[int, int]
    _pasted: dict[int, tuple[int, int, npt.NDArray[np.bool_]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.scores)

    def window(self, index: int) -> tuple[int, int, npt.NDArray[np.bool_]]:
        """One instance's mask where its box lies: first row, first column, bool [h, w]; pasted when first asked for."""
        from edgeseg.instance_masks import paste_window

        if index not in self._pasted:
            self._pasted[index] = paste_window(self.mask_probabilities[index], self.boxes[index], *self.size)
        return self._pasted[index]

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """bool [H, W]: the mask of one instance at the size of the frame, a new array."""
        from edgeseg.instance_masks import whole

        return whole(self.window(index), *self.size)

    def of_classes(self, wanted: Collection[int]) -> Instances:
        """Those of the named class ids, in the same order."""
        return self._kept(np.isin(self.classes, list(wanted)))

    def from_score(self, threshold: float) -> Instances:
        """Those whose score is at least `threshold`, in the same order."""
        return self._kept(self.scores >= threshold)

    def _kept(self, keep: npt.NDArray[np.bool_]) -> Instances:
        parts = (self.boxes[keep], self.scores[keep], self.classes[keep], self.mask_probabilities[keep])
        return Instances(*parts, self.size)

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """bool [K, H, W]: all masks at the size of the frame."""
        every = [self.mask(index) for index in range(len(self))]
        return np.stack(every) if every else np.zeros((0, *self.size), bool)


@dataclass(frozen=True, slots=True)
class Result:
    """What a model says about one frame.

    Attributes:
        label_map: uint8 [H, W] at the frame's own size.
        probability: uint8 [H, W], round(255 * p) of the foreground, for two-class models; else None.
        instances: for instance models; else None.
        frame: the picture that was segmented.
        classes: the model's class map.
        timings_ms: milliseconds per span: preprocess, inference, postprocess.
        model: 0 for the model that the user named; 1 and up for a smaller one that a budget turned to.
    """

    label_map: LabelMap
    probability: Probability | None
    instances: Instances | None
    frame: Frame
    classes: tuple[ClassInfo, ...]
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    model: int = 0

    @property
    def frame_number(self) -> int:
        """Place of the frame in its source, from 0."""
        return self.frame.number

    @property
    def captured_ns(self) -> int:
        """`time.monotonic_ns()` when the frame arrived."""
        return self.frame.captured_ns

    def overlay(self, strength: float = 0.45, classes: Collection[str] | None = None) -> Image:
        """The frame with its labels drawn in: tinted areas and outlines.

        Args:
            strength: opacity of the tint, 0 to 1.
            classes: names of the classes to draw; all but the background when None.

        Returns:
            A new uint8 [H, W, 3] BGR picture.
        """
        from edgeseg.drawing import draw_instances, draw_labels

        if self.instances is not None:
            return draw_instances(self.frame.image, self.instances, self.classes, strength, classes)
        return draw_labels(self.frame.image, self.label_map, self.classes, strength, classes)
