"""Large arrays that are taken again once nobody else holds them. May import numpy only."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

# More than one frame and its result have in use at a time; the rest of a longer queue is made and freed as usual.
_KEPT = 8


class ReusedArrays:
    """Arrays of one shape for what every frame needs anew.

    Memory that is fresh from the system costs a page fault for every page when it is first written. So arrays are kept,
    and one is given out again when its reference count says that no result, view or buffer of it is left. Threads may
    share an object of this class.
    """

    def __init__(self) -> None:
        self._arrays: list[npt.NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """An array uint8 of `shape`, C-contiguous, with any values in it, that nobody else refers to."""
        for array in self._arrays:
            # A thread that looks at the same array just now counts as one more holder: then neither takes it.
            if sys.getrefcount(array) == _UNUSED and array.shape == shape:
                return array
        array = np.empty(shape, np.uint8)
        alike = [kept for kept in self._arrays if kept.shape == shape]
        self._arrays = [*alike[1 - _KEPT :], array]
        return array


def _count_of_unused() -> int:
    """What `sys.getrefcount` says in the loop above of an array that only the list holds."""
    arrays = [np.empty(1, np.uint8)]
    for array in arrays:
        return sys.getrefcount(array)
    raise AssertionError


_UNUSED = _count_of_unused()
