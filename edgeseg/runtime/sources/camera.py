"""Cameras of this machine: an index or a device file, read through OpenCV's V4L2."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import InputError
from edgeseg.packages import missing_package
from edgeseg.runtime.sources.resilient import Patience, Resilient, Shot

# How long one read may take before the camera counts as gone. OpenCV waits 10 s unless told.
READ_TIMEOUT_MS = 3000


def open_camera(device: str, max_frames: int | None = None, patience: Patience | None = None) -> Resilient:
    """A live camera, which is opened again when it stops giving pictures: one that was unplugged may come back.

    Args:
        device: index ("0") or device file ("/dev/video0", or a link to one).
        max_frames: end after so many frames.
        patience: times to wait.

    Raises:
        InputError: there is no such camera, it cannot be opened, or it gives no picture.
        BackendError: OpenCV is not installed.
    """
    path = f"/dev/video{int(device)}" if device.isdecimal() else os.path.realpath(device)
    _check_device(path, device)
    # Opened here the first time: what is no camera, or busy, is said at once.
    first = CameraConnection(path, device)
    return Resilient(device, lambda: CameraConnection(path, device), patience, max_frames, first=first)


class CameraConnection:
    """See `Connection`. It keeps one buffer, so that a slow reader gets a new picture and not an old one.

    `captured_ns` is taken as soon as the driver hands the picture over, before it is decoded. `pts_s` is the driver's
    stamp of the buffer, on a clock of its own; None from where that does not move on, as some drivers' does not.
    """

    def __init__(self, path: str, device: str) -> None:
        self._capture = _open(path, device)
        self._device = device
        rate = float(self._capture.get(_cv2().CAP_PROP_FPS))
        self.fps = rate if 0 < rate < 1000 else None
        self._stamp_ms: float | None = 0.0

    def read(self) -> Shot | None:
        """See `Connection.read`."""
        grabbed = self._capture.grab()
        captured_ns = time.monotonic_ns()
        stamp_s = self._stamp_s() if grabbed else None
        image = self._capture.retrieve()[1] if grabbed else None
        if image is None:
            raise InputError("the camera gave no picture", self._device, "Plug it in anew")
        if image.ndim == 2:
            image = _cv2().cvtColor(image, _cv2().COLOR_GRAY2BGR)
        return Shot(np.ascontiguousarray(image), captured_ns, stamp_s)

    def _stamp_s(self) -> float | None:
        # V4L2 in OpenCV: the timestamp of the buffer that was grabbed last.
        if self._stamp_ms is not None:
            stamp_ms = float(self._capture.get(_cv2().CAP_PROP_POS_MSEC))
            self._stamp_ms = stamp_ms if stamp_ms > self._stamp_ms else None
        return None if self._stamp_ms is None else self._stamp_ms / 1e3

    def close(self) -> None:
        """See `Connection.close`."""
        self._capture.release()


def found() -> list[str]:
    """The device files of this machine's cameras, by number."""
    return sorted(map(str, Path("/dev").glob("video*")), key=lambda path: (len(path), path))


def _check_device(path: str, device: str) -> None:
    if not sys.platform.startswith("linux"):
        return
    known = found()
    todo = f"Cameras found: {', '.join(known)}" if known else "No camera was found under /dev/video*: plug one in"
    if not Path(path).exists():
        raise InputError("there is no such camera", path if device.isdecimal() else device, todo)
    if not os.access(path, os.R_OK | os.W_OK):
        raise InputError("no permission to use the camera", path, "Add your user to the group video and log in again")


def _open(path: str, device: str) -> Any:
    cv2 = _cv2()
    number = path.removeprefix("/dev/video")
    target: int | str = int(number) if number.isdecimal() else path
    with_v4l2 = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    # OpenCV tells its own story on stderr when this fails; ours is one line.
    capture = _quietly(lambda: cv2.VideoCapture(target, with_v4l2))
    if not capture.isOpened():
        capture.release()
        todo = "Another program may use it, or it is no capture device; v4l2-ctl --list-devices tells which are"
        raise InputError("cannot open the camera", device, todo)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    capture.set(cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS)
    return capture


def _quietly(action: Callable[[], Any]) -> Any:
    cv2 = _cv2()
    # OpenCV 5 moved the two functions; level 0 is silent in both.
    logging = getattr(getattr(cv2, "utils", None), "logging", cv2)
    if not hasattr(logging, "setLogLevel"):
        return action()
    before = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        return action()
    finally:
        logging.setLogLevel(before)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise missing_package(error) or error from None
    return cv2
