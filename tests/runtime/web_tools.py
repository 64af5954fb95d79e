"""What tests of the web page share: pictures whose pixels say which frame they are, and the browser that shows them."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator

import numpy as np
from needed import skip_or_fail
from stand_ins import PERSON

from edgeseg.runtime.sinks.web.camera import Camera
from edgeseg.runtime.sinks.web.server import WebPage
from edgeseg.runtime.stats import Stats
from edgeseg.types import ClassInfo, Frame, Result

CLASSES = (*PERSON, ClassInfo(2, "dog", (0, 0, 255)))


def result_of(number: int, height: int = 96, width: int = 128) -> Result:
    """Frame `number`: gray as its number says, a person in the left third, a dog in the right one."""
    image = np.full((height, width, 3), 40 + number % 128, np.uint8)
    label_map = np.zeros((height, width), np.uint8)
    label_map[:, : width // 3] = 1
    label_map[:, -(width // 3) :] = 2
    return Result(label_map, None, None, Frame(image, number, time.monotonic_ns()), CLASSES)


@contextlib.contextmanager
def served(cameras: int = 1, token: str | None = None) -> Iterator[tuple[WebPage, list[Camera], list[Stats]]]:
    """A page on a free port with that many live cameras."""
    stats = [Stats() for _ in range(cameras)]
    with WebPage(("127.0.0.1", 0), token) as page:
        made = [page.camera(f"camera {place}", own, live=True) for place, own in enumerate(stats)]
        page.start(CLASSES[1:])
        yield page, made, stats


@contextlib.contextmanager
def running(cameras: list[Camera], stats: list[Stats], fps: float = 20.0) -> Iterator[None]:
    """Cameras that give a picture every 1/fps s, each of another size, and drop every third."""
    stop = threading.Event()

    def run() -> None:
        number = 0
        while not stop.wait(1 / fps):
            for place, (camera, own) in enumerate(zip(cameras, stats, strict=True)):
                own.count("frames_in")
                if number % 3 == 2:
                    own.count("dropped")
                else:
                    camera.write(result_of(number, height=96 + 32 * place))
                    own.count("frames_out")
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def chromium() -> str:
    """Where Debian's Chromium is. Without it the test is skipped, and fails in CI."""
    found = shutil.which("chromium")
    if found is None:
        message = "Chromium is not installed: run make system-packages"
        skip_or_fail(message)
    return found
