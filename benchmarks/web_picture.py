"""The picture in docs/web.md: the web page of two cameras, on a desktop and on a phone, by a real Chromium.

python benchmarks/web_picture.py [--seconds 75] [--out docs/web.jpg]

The first camera is the clip that ships, over and over at its own speed; the second is drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import open_segmenter
from edgeseg.runtime.sinks.web.server import WebPage
from edgeseg.runtime.sources import DEMO_CLIP, FrameSource, VideoFile, open_source
from edgeseg.runtime.stats import Stats
from edgeseg.runtime.streams import Streams
from edgeseg.runtime.turnstile import Turnstile
from edgeseg.types import Frame

HEIGHT = 844
DESKTOP = {"viewport": {"width": 1180, "height": HEIGHT}}
PHONE = {"viewport": {"width": 390, "height": HEIGHT}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
GAP = 16
PATIENCE_MS = 300_000
# Figures have come, there is nothing to complain of, and somebody has walked into the clip.
READY = """() => document.getElementById("drops-now").textContent && document.getElementById("notice").hidden
  && parseInt(document.getElementById("line").textContent.split(" ")[1]) % 176 > 30
  && parseInt(document.getElementById("line").textContent.split(" ")[1]) % 176 < 150"""


class Entrance(FrameSource):
    """The clip that ships, as a camera that never ends."""

    live = True

    def __init__(self) -> None:
        super().__init__("entrance")
        self._clip = self._opened()
        self._due_s = time.monotonic()

    def _opened(self) -> Iterator[Frame]:
        clip = VideoFile(DEMO_CLIP, "entrance", None)
        self.fps = clip.fps
        return iter(clip)

    def _read(self) -> Frame | None:
        self._due_s += 1 / (self.fps or 30)
        self._stop.wait(max(0.0, self._due_s - time.monotonic()))
        frame = next(self._clip, None)
        if frame is None:
            self._clip = self._opened()
            frame = next(self._clip)
        return dataclasses.replace(frame, number=self._count, captured_ns=time.monotonic_ns(), pts_s=None)

    def _release(self) -> None:
        self._clip = iter(())


def main() -> None:
    """Run two cameras, wait until the charts are full of something, take both pictures, write them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=75)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "web.jpg")
    args = parser.parse_args()
    turnstile = Turnstile()
    with open_segmenter("person") as segmenter, WebPage(("127.0.0.1", 0)) as page:
        pipelines = []
        for source in (Entrance(), open_source("synthetic:640x480@10")):
            stats = Stats()
            camera = page.camera(source.name, stats, source.live)
            pipelines.append(Pipeline(source, segmenter, [camera], stats=stats, turnstile=turnstile))
        page.start([info for info in segmenter.classes if info.id])
        streams = Streams(pipelines)
        streams.start()
        try:
            shots = pictures(page.url, args.seconds)
        finally:
            streams.stop()
            streams.join()
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    cv2.imwrite(str(args.out), np.hstack([shots[0], gap, shots[1]]), [cv2.IMWRITE_JPEG_QUALITY, 80])


def pictures(url: str, seconds: float) -> list[np.ndarray[Any, Any]]:
    """What a desktop and a phone show after that time, BGR."""
    from playwright.sync_api import sync_playwright

    shots = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--disable-gpu"], timeout=PATIENCE_MS
        )
        # The figures so far come with the hello, so each page has full charts at once.
        time.sleep(seconds)
        for options in (DESKTOP, PHONE):
            page = browser.new_page(**options)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            page.wait_for_function(READY)
            shots.append(page.screenshot())
            page.close()
        browser.close()
    return [np.asarray(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)) for shot in shots]


if __name__ == "__main__":
    main()
