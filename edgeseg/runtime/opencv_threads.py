"""OpenCV's own threads, put away while threads of ours share the cores with a backend. May import OpenCV late only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_asked = 0
_before = 1


@contextlib.contextmanager
def one_opencv_thread(wanted: bool = True) -> Iterator[None]:
    """While any of these is open, OpenCV computes on the thread that calls it, in the whole process.

    A resize that is split over all cores waits for its last part, and that one for a core that the backend has: beside
    an inference it takes longer than on one thread. The number of threads of before is back after the last one.

    Args:
        wanted: False does nothing.
    """
    global _asked, _before
    if not wanted:
        yield
        return
    import cv2

    with _lock:
        if not _asked:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _asked += 1
    try:
        yield
    finally:
        with _lock:
            _asked -= 1
            if not _asked:
                cv2.setNumThreads(_before)
