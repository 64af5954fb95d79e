"""Arrays that are given out again: never while somebody can still see them."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from edgeseg.runtime.reuse import ReusedArrays


def test_an_array_is_taken_again_once_nobody_holds_it() -> None:
    pool = ReusedArrays()
    where = pool.take((4, 5)).ctypes.data
    assert pool.take((4, 5)).ctypes.data == where
    first = pool.take((4, 5))
    assert first.ctypes.data == where
    assert pool.take((4, 5)).ctypes.data != where
    assert first.flags.c_contiguous and first.dtype == np.uint8


def test_views_and_buffers_count_as_holding() -> None:
    pool = ReusedArrays()
    for hold in (
        lambda array: array[1:, ::2],
        lambda array: array.reshape(-1).view(np.int8),
        lambda array: array.data,
        lambda array: {"kept": [array]},
        lambda array: cv2.resize(np.zeros((2, 2), np.uint8), (4, 4), dst=array),
    ):
        kept = hold(pool.take((4, 4)))
        taken = pool.take((4, 4))
        held = kept["kept"][0] if isinstance(kept, dict) else np.asarray(kept)
        assert not np.shares_memory(held, taken)


def test_another_shape_is_another_array_and_the_old_ones_go() -> None:
    pool = ReusedArrays()
    pool.take((4, 5))
    assert pool.take((5, 4)).shape == (5, 4)
    assert [array.shape for array in pool._arrays] == [(5, 4)]


def test_a_queue_of_results_makes_the_pool_no_larger_than_its_bound() -> None:
    pool = ReusedArrays()
    held = [pool.take((3, 3)) for _ in range(40)]
    assert len({array.ctypes.data for array in held}) == 40
    assert len(pool._arrays) == 8


def test_threads_never_get_the_same_array() -> None:
    pool, torn = ReusedArrays(), []

    def work(number: int) -> None:
        for _ in range(3000):
            array = pool.take((16, 16))
            array[:] = number
            if (array != number).any():
                torn.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not torn
