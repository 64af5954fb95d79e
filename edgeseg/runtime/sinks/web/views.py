"""What a viewer wants to see, and the JPEG of it: made when somebody waits for it, once for all who want the same."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edgeseg.errors import OutputError, UsageError
from edgeseg.types import Result

LONGEST_SIDE = 1280
QUALITY = 80
STRENGTH = 45  # percent


@dataclass(frozen=True, slots=True)
class View:
    """The switches of one viewer.

    Attributes:
        camera: place of the source in the run.
        strength: opacity of the tint in percent.
        classes: names of the classes that are drawn; nothing is where there are none.
    """

    camera: int
    strength: int
    classes: tuple[str, ...]


def read_view(body: object, cameras: int, classes: Sequence[str]) -> View:
    """The view in a viewer's message: {"camera": 0, "overlay": true, "strength": 45, "classes": ["person"]}.

    Args:
        body: that message, as JSON gave it.
        cameras: how many there are.
        classes: the names that may be drawn.

    Raises:
        UsageError: it is not of this form.
    """
    if not isinstance(body, dict) or set(body) != {"camera", "overlay", "strength", "classes"}:
        raise UsageError("not a view", type(body).__name__, "Give camera, overlay, strength and classes")
    camera, strength, names = body["camera"], body["strength"], body["classes"]
    if not _whole(camera, cameras - 1) or not _whole(strength, 100) or not isinstance(body["overlay"], bool):
        raise UsageError(
            "not a view", f"camera {camera!r}, strength {strength!r}", "Give whole numbers in their bounds"
        )
    if not isinstance(names, list) or not all(name in classes for name in names):
        raise UsageError("not a view", f"classes {names!r}", f"Give names out of {', '.join(classes)}")
    # What looks the same is the same view, so that its pictures are shared.
    shown = tuple(name for name in classes if name in names) if body["overlay"] else ()
    return View(camera, strength if shown else 0, shown)


def _whole(value: object, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def draw(result: Result, view: View) -> bytes:
    """A JPEG of the result as `view` wants it, its longest side at most 1280 pixels."""
    import cv2

    image = result.overlay(view.strength / 100, view.classes) if view.classes else result.frame.image
    height, width = image.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise OutputError("cannot encode a picture as JPEG", f"{width}x{height}", "Report this with the frame's size")
    return data.tobytes()


class Renderer:
    """Draws on two threads of its own; the newest picture of each view is kept for those who ask a little later."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="edgeseg-web-draw")
        self._newest: dict[View, tuple[int, asyncio.Future[bytes]]] = {}

    async def picture(self, view: View, number: int, result: Result) -> bytes:
        """The JPEG of a result.

        Args:
            view: how to draw it.
            number: that of the result among its camera's.
            result: what to draw.
        """
        kept = self._newest.get(view)
        if kept is None or kept[0] != number:
            drawing = asyncio.get_running_loop().run_in_executor(self._pool, draw, result, view)
            kept = self._newest[view] = (number, drawing)
        # A viewer that leaves meanwhile must not take the picture away from the others.
        return await asyncio.shield(kept[1])

    def keep_only(self, views: Collection[View]) -> None:
        """Forget the pictures of views that nobody has any more."""
        self._newest = {view: kept for view, kept in self._newest.items() if view in views}

    def close(self) -> None:
        """End the threads, after what they are drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
