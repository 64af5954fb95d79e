"""Reads edgeseg's label maps from shared memory: `python read_label_maps.py NAME`. Layout: docs/shared_memory.md."""

from __future__ import annotations

import mmap
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

STATE, WRITTEN, SLOTS, STRIDE, FIRST_SLOT, CLASSES, CLASS_TABLE = 2, 3, 4, 5, 6, 7, 8  # words of the header
OPEN, REPLACED = 1, 2
order = threading.Lock()
order.acquire()


def fence() -> None:
    """Keep the reads before this in front of those after it, which ARM would not do by itself."""
    order.release()
    order.acquire()


def label_maps(name: str) -> Iterator[tuple[int, int, np.ndarray, dict[int, str]]]:
    """(frame number, captured_ns, uint8 [H, W], names of classes) of each map, from the newest on, until the end."""
    place, state = -1, REPLACED  # -1: the newest
    while state == REPLACED:
        with Path("/dev/shm", name).open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        words = memoryview(memory).cast("Q")
        slots, stride, first, table = (words[at] for at in (SLOTS, STRIDE, FIRST_SLOT, CLASS_TABLE))
        rows = [memory[at : at + 64] for at in range(table, table + 64 * words[CLASSES], 64)]
        names = {row[0]: row[4:].rstrip(b"\0").decode() for row in rows}
        place = max(0, words[WRITTEN] - 1) if place < 0 else 0
        while True:
            state = words[STATE]
            fence()  # what was written before the state changed is still read
            if place == words[WRITTEN]:
                if state != OPEN:
                    break
                time.sleep(0.001)
                continue
            fence()
            slot = first + place % slots * stride
            sequence = words[slot // 8]
            fence()
            frame, captured_ns, height, width = words[slot // 8 + 1 : slot // 8 + 5]
            pixels = memory[slot + 64 : slot + 64 + height * width]  # a copy
            fence()
            if sequence == 2 * place + 2 == words[slot // 8]:
                place += 1
                yield frame, captured_ns, np.frombuffer(pixels, np.uint8).reshape(height, width), names
            else:
                place = words[WRITTEN] - 1  # too slow, it was overwritten: on with the newest


if __name__ == "__main__":
    for frame, captured_ns, labels, names in label_maps(sys.argv[1]):
        age_ms = (time.monotonic_ns() - captured_ns) / 1e6
        shares = " ".join(f"{names[number]}:{(labels == number).mean():.4f}" for number in names)
        print(f"{frame} {captured_ns} {labels.shape[1]}x{labels.shape[0]} {age_ms:.1f} {shares}", flush=True)
