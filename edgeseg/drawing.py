"""Label maps made visible. Imports cv2 when something is drawn, not before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError, nearest
from edgeseg.instance_masks import Window
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
    out, thickness = _canvas(image, strength)
    for info in select_classes(classes, only):
        area = np.equal(label_map, info.id).view(np.uint8)
        _draw_area(out, area, (0, 0), info.color, info.color, strength, thickness)
    return out


def draw_instances(
    image: Image,
    instances: Instances,
    classes: Sequence[ClassInfo],
    strength: float = 0.45,
    only: Collection[str] | None = None,
) -> Image:
    """`draw_labels` for instances: each in its class's colour, the best on top, with an outline in half that colour.

    So two of one class stand apart where they touch, in the same way in every frame: who is who is not followed.
    """
    shown = {info.id for info in select_classes(classes, only)}
    kept = [index for index in range(len(instances)) if int(instances.classes[index]) in shown]
    windows = (instances.window(index) for index in reversed(kept))
    return _draw_each(image, windows, [int(instances.classes[index]) for index in reversed(kept)], classes, strength)


def draw_masks(
    image: Image,
    masks: npt.NDArray[np.bool_],
    labels: Sequence[int] | npt.NDArray[np.int64],
    classes: Sequence[ClassInfo],
    strength: float = 0.45,
) -> Image:
    """`draw_instances` for instances that are known as masks bool [K, H, W] and their class ids [K]."""
    return _draw_each(image, ((0, 0, mask) for mask in masks), [int(label) for label in labels], classes, strength)


def _draw_each(
    image: Image, windows: Iterable[Window], labels: Sequence[int], classes: Sequence[ClassInfo], strength: float
) -> Image:
    out, thickness = _canvas(image, strength)
    colors = {info.id: info.color for info in classes}
    for (top, left, mask), label in zip(windows, labels, strict=True):
        outline = tuple(part // 2 for part in colors[label])
        _draw_area(out, mask.view(np.uint8), (top, left), colors[label], outline, strength, thickness)
    return out


def _canvas(image: Image, strength: float) -> tuple[Image, int]:
    """A copy to draw on, and how thick outlines are."""
    if not 0.0 <= strength <= 1.0:
        raise UsageError("overlay strength is outside 0 to 1", strength, "Give a value between 0 and 1")
    return image.copy(), max(2, round(min(image.shape[:2]) / 240))


def _draw_area(
    out: Image,
    area: LabelMap,
    corner: tuple[int, int],
    color: Sequence[int],
    outline: Sequence[int],
    strength: float,
    thickness: int,
) -> None:
    """Tint and outline an area uint8 [h, w], 1 inside, whose first pixel is the frame's at `corner` (row, column)."""
    import cv2

    x, y, width, height = cv2.boundingRect(area) if area.size else (0, 0, 0, 0)
    if width == 0:
        return
    # Only the box around the area is blended: most frames hold one person, not a full screen of them.
    inner = area[y : y + height, x : x + width]
    top, left = corner[0] + y, corner[1] + x
    window = out[top : top + height, left : left + width]
    tint = np.full_like(window, color)
    cv2.copyTo(cv2.addWeighted(window, 1.0 - strength, tint, strength, 0.0), inner, window)
    contours, _ = cv2.findContours(inner, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top))
    cv2.drawContours(out, contours, -1, outline, thickness, cv2.LINE_AA)


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
