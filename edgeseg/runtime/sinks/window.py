"""A window that shows results while they come, and its keys."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from edgeseg.errors import OutputError
from edgeseg.packages import missing_package
from edgeseg.types import ClassInfo, Image, Result

PROBE = "import cv2; cv2.namedWindow('edgeseg'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_TIMEOUT_S = 30
STOP_KEYS = (ord("q"), ord("Q"), 27)  # 27 is Esc
PAUSE_KEY = ord(" ")
PAUSE_MS = 50  # between looks at keys while it pauses
STRENGTH_STEP = 0.1
TODO = "Leave out --show; --save OUT.mp4 writes a video"


@dataclass
class View:
    """What of a result is shown.

    Attributes:
        strength: opacity of the tint, 0 to 1.
        classes: names of those that are drawn; all when None.
        drawn: the window's own picture in place of the overlay.
    """

    strength: float
    classes: Collection[str] | None
    drawn: bool = False

    def press(self, key: int, classes: Sequence[ClassInfo]) -> bool:
        """Change it as a key says; False for a key that means nothing."""
        letter, names = chr(key), [info.name for info in classes if info.id]
        if letter in "+=-_":  # = and _ are on the keys of + and -
            step = STRENGTH_STEP if letter in "+=" else -STRENGTH_STEP
            self.strength = round(min(1.0, max(0.0, self.strength + step)), 3)
        elif letter == "0":
            self.classes = None
        elif letter in "123456789" and int(letter) <= len(names):
            shown = set(names if self.classes is None else self.classes)
            self.classes = sorted(shown ^ {names[int(letter) - 1]})
        elif letter in "bB":
            self.drawn = not self.drawn
        else:
            return False
        return True


class Window:
    """Shows each result, and listens to keys.

    Space pauses and goes on: a source that waits is held up, a live one runs on unseen. + and - change the strength of
    the overlay, 1 to 9 switch the first nine classes on and off, 0 shows all of them, b switches between `draw`'s
    picture and the overlay. q, Esc or closing the window sets `wants_stop`; the sink itself goes on quietly.

    Window systems want all calls from one thread: `write` and `close` are to be called from the same.

    Args:
        title: title of the window.
        strength: opacity of the tint, 0 to 1.
        classes: names of the classes to draw; all when None.
        draw: makes the picture of a result, in place of its overlay.
        live: whether the source is live.

    Raises:
        OutputError: there is no display, or this OpenCV cannot open windows.
    """

    def __init__(
        self,
        title: str = "edgeseg",
        strength: float = 0.45,
        classes: Collection[str] | None = None,
        draw: Callable[[Result], Image] | None = None,
        live: bool = False,
    ) -> None:
        problem = why_no_window()
        if problem:
            raise OutputError("cannot open a window", problem, TODO)
        # The wheel's Qt complains about fonts that it does not need here.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self.wants_stop = False
        self._title, self._draw, self._live = title, draw, live
        self._view = View(strength, classes, draw is not None)
        self._ending = threading.Event()
        self._held: Result | None = None  # what is on the screen while the window pauses
        self._thread: int | None = None

    def write(self, result: Result) -> None:
        """Show one result, unless the user has closed the window; returns when a pause of a waiting source ends."""
        import cv2

        if self.wants_stop:
            return
        if self._thread is not None and not self._is_open():
            # The user closed it; imshow would open it again.
            self.wants_stop = True
            return
        if self._thread is None:
            self._thread = threading.get_ident()
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, *result.label_map.shape[::-1])
        if self._held is None:
            self._show(result)
        self._listen(result, 1)
        while self._held is not None and not self._live and not self._ending.is_set():
            self._listen(result, PAUSE_MS)
            if not self._is_open():
                self.wants_stop, self._held = True, None

    def end_pause(self) -> None:
        """The run is to end: a pause holds it up no longer. From any thread."""
        self._ending.set()

    def _show(self, result: Result) -> None:
        import cv2

        view = self._view
        drawn = self._draw if view.drawn else None
        cv2.imshow(self._title, drawn(result) if drawn else result.overlay(view.strength, view.classes))

    def _listen(self, result: Result, wait_ms: int) -> None:
        """Wait for a key and do what it says; `result` is the one that a pause would hold."""
        import cv2

        key = cv2.waitKey(wait_ms) & 0xFF
        if key in STOP_KEYS:
            self.wants_stop, self._held = True, None
        elif key == PAUSE_KEY:
            self._held = result if self._held is None else None
        elif self._view.press(key, result.classes):
            self._show(self._held or result)

    def _is_open(self) -> bool:
        import cv2

        try:
            return float(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE)) >= 1
        except cv2.error:  # what Qt says once its last window is closed
            return False

    def close(self) -> None:
        """Close the window."""
        import cv2

        opened_by, self._thread = self._thread, None
        # From another thread this would wait for ever; there the window goes with the process.
        if opened_by == threading.get_ident():
            cv2.destroyAllWindows()


def why_no_window() -> str | None:
    """Why no window can be opened here, None where one can."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        import cv2
    except ImportError as error:
        raise missing_package(error) or error from None
    if any(row.split() == ["GUI:", "NONE"] for row in cv2.getBuildInformation().splitlines()):
        return "this OpenCV is built without windows; pip install opencv-python has them, opencv-python-headless not"
    # Qt ends the whole process when it cannot reach the display, so another process tries it first.
    command = [sys.executable, "-c", PROBE]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"the display {_display()} does not answer"
    return f"the display {_display()} cannot be opened" if tried.returncode else None


def _display() -> str:
    return os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "of this machine"
