"""Moments of another clock on the monotonic one, which is that of every `captured_ns`."""

from __future__ import annotations

import time
from collections.abc import Callable


def ahead_ns(other: Callable[[], int]) -> int:
    """What another clock is ahead of the monotonic one, in nanoseconds.

    The narrowest of three looks: one that is interrupted in the middle is wrong by as long as that took.
    """
    looks = []
    for _ in range(3):
        before_ns, other_ns, after_ns = time.monotonic_ns(), other(), time.monotonic_ns()
        looks.append((after_ns - before_ns, other_ns - (before_ns + after_ns) // 2))
    return min(looks)[1]
