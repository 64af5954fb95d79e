"""A window that shows results while they come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Collection

from edgeseg.errors import OutputError
from edgeseg.packages import missing_package
from edgeseg.types import Result

PROBE = "import cv2; cv2.namedWindow('edgeseg'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_TIMEOUT_S = 30
STOP_KEYS = (ord("q"), ord("Q"), 27)  # 27 is Esc
TODO = "Leave out --show; --save OUT.mp4 writes a video"


class Window:
    """Shows each result's overlay. q, Esc or closing the window sets `wants_stop`; the sink itself goes on quietly.

    Window systems want all calls from one thread: `write` and `close` are to be called from the same.

    Args:
        title: title of the window.
        strength: opacity of the tint, 0 to 1.
        classes: names of the classes to draw; all when None.

    Raises:
        OutputError: there is no display, or this OpenCV cannot open windows.
    """

    def __init__(self, title: str = "edgeseg", strength: float = 0.45, classes: Collection[str] | None = None) -> None:
        problem = why_no_window()
        if problem:
            raise OutputError("cannot open a window", problem, TODO)
        # The wheel's Qt complains about fonts that it does not need here.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self.wants_stop = False
        self._title, self._strength, self._classes = title, strength, classes
        self._thread: int | None = None

    def write(self, result: Result) -> None:
        """Show one result, unless the user has closed the window."""
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
        cv2.imshow(self._title, result.overlay(self._strength, self._classes))
        self.wants_stop = (cv2.waitKey(1) & 0xFF) in STOP_KEYS

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
