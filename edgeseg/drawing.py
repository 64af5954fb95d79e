"""Label maps made visible. Imports cv2 when something is drawn, not before."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgeseg.errors import UsageError, nearest
from edgeseg.types import ClassInfo, Image, Instances, LabelMap


def draw_labels(
    image: Image,
    label_map: LabelMap,
    classes: Sequence[ClassInfo],
    strength: float = 0.45,
    only: Collection[str] | None = None,
) -> Image:
    """Tint each labelled area with its class colour and outline it.

    Args:
        image: uint8 [H, W, 3] BGR; not changed.
        label_map: uint8 [H, W], the class id of each pixel.
        classes: the class map; id 0 is the background and is never drawn.
        strength: opacity of the tint, 0 to 1.
        only: names of the classes to draw; all when None.

    Returns:
        uint8 [H, W, 3] BGR, a new array.

    Raises:
        UsageError: strength outside 0 to 1, or a class name that the model does not know.
    """
    import cv2

    if not 0.0 <= strength <= 1.0:
        raise UsageError("overlay strength is outside 0 to 1", strength, "Give a value between 0 and 1")
    out: Image = image.copy()
    thickness = max(2, round(min(image.shape[:2]) / 240))
    for info in select_classes(classes, only):
        area = np.equal(label_map, info.id).view(np.uint8)
        box = cv2.boundingRect(area)
        if box[2] == 0:
            continue
        # Only the box around the area is blended: most frames hold one person, not a full screen of them.
        rows, cols = slice(box[1], box[1] + box[3]), slice(box[0], box[0] + box[2])
        window = out[rows, cols]
        tint = np.full_like(window, info.color)
        cv2.copyTo(cv2.addWeighted(window, 1.0 - strength, tint, strength, 0.0), area[rows, cols], window)
        contours, _ = cv2.findContours(area, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(out, contours, -1, info.color, thickness, cv2.LINE_AA)
    return out


def draw_instances(
    image: Image,
    instances: Instances,
    classes: Sequence[ClassInfo],
    strength: float = 0.45,
    only: Collection[str] | None = None,
) -> Image:
    """`draw_labels` for instances: each in the colour of its class, with an outline of its own, the best on top."""
    if not 0.0 <= strength <= 1.0:
        raise UsageError("overlay strength is outside 0 to 1", strength, "Give a value between 0 and 1")
    shown = {info.id: info for info in select_classes(classes, only)}
    out = image
    for index in reversed(range(len(instances))):
        info = shown.get(int(instances.classes[index]))
        if info is not None:
            one = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, info.name, info.color))
            out = draw_labels(out, instances.mask(index).view(np.uint8), one, strength)
    return image.copy() if out is image else out


def select_classes(classes: Sequence[ClassInfo], only: Collection[str] | None) -> list[ClassInfo]:
    """The foreground classes, or those that are named in `only`; an unknown name is a UsageError."""
    foreground = [info for info in classes if info.id != 0]
    if only is None:
        return foreground
    known = {info.name for info in classes}
    for name in only:
        if name not in known:
            raise UsageError("unknown class", name, nearest(name, known))
    return [info for info in foreground if info.name in only]
