"""The window: what is said where none can be opened, and a real one where a display can be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks import Window, wants_stop

HAS_WINDOWS = not any(row.split() == ["GUI:", "NONE"] for row in cv2.getBuildInformation().splitlines())


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="neither DISPLAY nor WAYLAND_DISPLAY") as caught:
        Window()
    assert "--save" in caught.value.todo


def test_a_display_that_does_not_answer_is_an_error_and_no_abort(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=":4711" if HAS_WINDOWS else "opencv-python"):
        Window()
    assert capfd.readouterr().err == ""


def test_the_user_may_stop_through_any_sink() -> None:
    class Closed:
        wants_stop = True

    assert wants_stop([object(), Closed()])
    assert not wants_stop([object()])


SHOW = """
import sys, threading, time
import cv2, numpy as np
from edgeseg.runtime.sinks import Window
from edgeseg.types import ClassInfo, Frame, Result

image = np.full((240, 320, 3), 90, np.uint8)
labels = np.zeros((240, 320), np.uint8)
labels[60:200, 100:220] = 1
classes = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60)))
window = Window("a test of edgeseg")


def show():
    for number in range(20):
        window.write(Result(labels, None, None, Frame(image, number, 0), classes))
        assert not window.wants_stop
        time.sleep(0.01)
    cv2.destroyWindow("a test of edgeseg")  # as the user does
    cv2.waitKey(1)
    window.write(Result(labels, None, None, Frame(image, 20, 0), classes))
    print("wants_stop", window.wants_stop)
    window.close()


# The pipeline's sinks run on a thread of their own.
thread = threading.Thread(target=show)
thread.start()
thread.join()
window.close()
"""


@pytest.mark.skipif(not HAS_WINDOWS, reason="this OpenCV is built without windows")
@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed (make system-packages)")
def test_a_real_window_on_a_virtual_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as display:
        try:
            assert display.stdout is not None
            monkeypatch.setenv("DISPLAY", f":{display.stdout.readline().strip()}")
            monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
            shown = subprocess.run(
                [sys.executable, "-c", SHOW], capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            display.terminate()
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "wants_stop True\n", "")
