"""Timing on a machine that is not quiet: short blocks of calls, and the figures of the blocks that nobody disturbed.

On a shared machine speed changes several times a second: a neighbour on the same core makes every call take half as
long again, then leaves. Disturbance only ever adds time, so the median of all calls says how busy the neighbours were
(40 % apart between two runs of 20 s, on an idle two-core virtual machine), while the fastest short blocks say what the
program needs (5 % apart). Blocks, not single calls: a call that was fast by luck of the clock does not count, ten in a
row do.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence

Block = Sequence[float]  # milliseconds of consecutive calls


def time_block(call: Callable[[], object], count: int, warm: int = 0) -> list[float]:
    """Milliseconds of each of `count` calls in a row, after `warm` calls that do not count; no garbage collection."""
    times_ms = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(warm):
            call()
        for _ in range(count):
            started = time.perf_counter_ns()
            call()
            times_ms.append((time.perf_counter_ns() - started) / 1e6)
    finally:
        if collecting:
            gc.enable()
    return times_ms


def quiet_blocks(blocks: Sequence[Block], share: float = 0.1) -> list[Block]:
    """The `share` of blocks with the lowest medians, at least one of them."""
    ordered = sorted(blocks, key=median)
    return ordered[: max(1, math.ceil(share * len(blocks)))]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
