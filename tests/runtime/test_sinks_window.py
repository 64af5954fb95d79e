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
from edgeseg.runtime.sinks.window import View
from edgeseg.types import ClassInfo

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


def test_what_keys_do_to_the_view() -> None:
    classes = [ClassInfo(k, f"c{k}", (0, 0, 0)) for k in range(4)]
    view = View(0.45, None)
    for key, strength in (("+", 0.55), ("=", 0.65), ("-", 0.55), ("_", 0.45)):
        assert view.press(ord(key), classes)
        assert view.strength == strength
    for _ in range(20):
        view.press(ord("+"), classes)
    assert view.strength == 1.0
    for _ in range(20):
        view.press(ord("-"), classes)
    assert view.strength == 0.0
    for keys, shown in (("2", ["c1", "c3"]), ("1", ["c3"]), ("3", []), ("2", ["c2"]), ("0", None)):
        assert view.press(ord(keys), classes)
        assert view.classes == shown
    assert view.press(ord("b"), classes) and view.drawn
    for nothing in (255, ord("4"), ord("x")):  # 255: no key; there are three classes
        assert not view.press(nothing, classes)


SHOW = """
import sys, threading, time
import cv2, numpy as np
from edgeseg.runtime.sinks import Window
from edgeseg.types import ClassInfo, Frame, Result

image = np.full((240, 320, 3), 90, np.uint8)
labels = np.zeros((240, 320), np.uint8)
labels[60:200, 100:220] = 1
classes = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60)))
window = Window("a test of edgeseg", draw=lambda result: np.zeros_like(result.frame.image))
shown = []
really_show, really_wait = cv2.imshow, cv2.waitKey
keys = []


def result(number):
    return Result(labels, None, None, Frame(image, number, 0), classes)


def note(title, picture):
    shown.append(picture)
    really_show(title, picture)


def press(wait_ms):  # a stand-in for a keyboard: the window has its time, then a key
    really_wait(wait_ms)
    return keys.pop(0) if keys else -1


def show():
    for number in range(20):
        window.write(result(number))
        assert not window.wants_stop
        time.sleep(0.01)
    cv2.imshow, cv2.waitKey = note, press

    keys[:] = [ord("b")]
    window.write(result(0))
    assert not shown[0].any() and np.array_equal(shown[1], result(0).overlay())
    # Paused, it holds up a source that waits; the picture on the screen follows the keys.
    keys[:] = [ord(" "), -1, ord("+"), ord("1"), ord(" ")]
    window.write(result(1))
    assert not keys and len(shown) == 5
    assert np.array_equal(shown[3], result(1).overlay(0.55)) and np.array_equal(shown[4], image)
    # The end of a run ends a pause.
    keys[:] = [ord(" ")]
    threading.Timer(0.2, window.end_pause).start()
    window.write(result(2))
    # A live source runs on, unseen.
    window._live, count = True, len(shown)
    window.write(result(3))
    assert len(shown) == count
    keys[:] = [ord(" ")]
    window.write(result(4))
    window.write(result(5))
    assert len(shown) == count + 1
    keys[:] = [ord(" "), ord("q")]
    window.write(result(6))
    window.write(result(7))
    assert window.wants_stop
    window.wants_stop = False
    cv2.waitKey = really_wait

    cv2.destroyWindow("a test of edgeseg")  # as the user does
    cv2.waitKey(1)
    window.write(result(20))
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
