"""One segment of shared memory: owned by the process that holds its lock, filled under a sequence lock."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks.base import cannot_write
from edgeseg.runtime.sinks.shared_layout import (
    FOLDER,
    HEADER_BYTES,
    MAGIC,
    SLOT_HEADER_BYTES,
    VERSION,
    SlotWord,
    State,
    Word,
    class_table,
    pages,
)
from edgeseg.types import ClassInfo, Result

WHAT = "the shared memory"
RING_BYTES = 32 << 20
SLOTS_AT_LEAST, SLOTS_AT_MOST = 4, 32


class Segment:
    """A segment that this process has locked, and so owns until it lets go.

    The lock (flock) is the kernel's: it ends with the process, however that dies. So a segment that can be locked
    belongs to nobody.

    Args:
        path: its name in the folder of segments.
        file: open and locked; closed with the segment.

    Attributes:
        capacity: pixels of the largest map that fits; 0 where there are no slots.
    """

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file
        self._map = mmap.mmap(file, 0)
        self._words = memoryview(self._map).cast("Q")
        self._slots, self._stride = self._words[Word.SLOTS], self._words[Word.STRIDE]
        self._first, self._written = self._words[Word.FIRST_SLOT], self._words[Word.WRITTEN]
        self.capacity = self._stride - SLOT_HEADER_BYTES if self._slots else 0
        self._order = threading.Lock()
        self._order.acquire()

    def put(self, result: Result) -> None:
        """Write the next map into its slot; it must fit. Readers are never waited for."""
        label_map, words = result.label_map, self._words
        start = self._first + self._written % self._slots * self._stride
        slot = start // words.itemsize
        words[slot + SlotWord.SEQUENCE] = 2 * self._written + 1
        self._fence()
        words[slot + SlotWord.FRAME] = result.frame_number
        words[slot + SlotWord.CAPTURED_NS] = result.captured_ns
        words[slot + SlotWord.HEIGHT], words[slot + SlotWord.WIDTH] = label_map.shape
        np.copyto(np.ndarray(label_map.shape, np.uint8, self._map, start + SLOT_HEADER_BYTES), label_map)
        self._fence()
        words[slot + SlotWord.SEQUENCE] = 2 * self._written + 2
        self._fence()
        self._written += 1
        words[Word.WRITTEN] = self._written

    def leave(self, state: State) -> None:
        """Tell readers why nothing more comes, and let go; the name is taken away if it is still this segment's."""
        self._words[Word.STATE] = state
        if _is_at(self._file, self._path):
            self._path.unlink()
        self._words.release()
        self._map.close()
        os.close(self._file)

    def _fence(self) -> None:
        """Nothing written before is seen after what is written next.

        x86 keeps that order by itself, ARM does not, and Python has no instruction for it: releasing a lock and
        taking it again orders both sides.
        """
        self._order.release()
        self._order.acquire()


def make_segment(
    name: str, classes: Sequence[ClassInfo] = (), capacity: int = 0, old: Segment | None = None
) -> Segment:
    """A new segment under a name; readers of what was there before are sent to it.

    Args:
        name: without a slash.
        classes: the class map.
        capacity: pixels of the largest map; 0 for a segment without slots, which only holds the name.
        old: what this process has under the name. Unless given, a segment of a dead process is taken over.

    Raises:
        OutputError: the name belongs to another process or to something else, or there is no memory.
    """
    path = Path(FOLDER, name)
    try:
        # Filled under another name, so that nobody sees half a header; who has that locked may give it the real one.
        aside = path.with_name(f".edgeseg-{name}.new")
        file = _own(aside)
        try:
            _fill(file, classes, capacity)
            segment = Segment(path, file)
            before = old or _abandoned(path)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            os.close(file)
            raise
    except OSError as error:
        raise cannot_write(WHAT, path, error) from None
    if before is not None:
        before.leave(State.REPLACED)
    return segment


def _fill(file: int, classes: Sequence[ClassInfo], capacity: int) -> None:
    """Give a file its size and header."""
    table = class_table(classes)
    first = pages(HEADER_BYTES + len(table))
    stride = pages(SLOT_HEADER_BYTES + capacity)
    slots = max(SLOTS_AT_LEAST, min(SLOTS_AT_MOST, RING_BYTES // stride)) if capacity else 0
    header = [0] * (HEADER_BYTES // 8)
    header[Word.MAGIC], header[Word.VERSION], header[Word.STATE] = MAGIC, VERSION, State.OPEN
    header[Word.SLOTS], header[Word.STRIDE], header[Word.FIRST_SLOT] = slots, stride, first
    header[Word.CLASSES], header[Word.CLASS_TABLE], header[Word.WRITER] = len(classes), HEADER_BYTES, os.getpid()
    os.ftruncate(file, 0)
    # Taken now: where memory runs out later, a write into the map ends the process.
    os.posix_fallocate(file, 0, first + slots * stride)
    os.pwrite(file, np.array(header, np.uint64).tobytes() + table, 0)


def _own(path: Path) -> int:
    """The file of that name, made if missing, open and locked."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _lock(file, path)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # what was locked has another name by now


def _abandoned(path: Path) -> Segment | None:
    """What a dead process left under the name, locked; OutputError if it lives, or the file is no segment of ours."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        if os.pread(file, 8, 0) != MAGIC.to_bytes(8, "little"):
            raise OutputError(f"cannot write {WHAT}", f"{path} belongs to another program", "Give another name")
        _lock(file, path)
        return Segment(path, file)
    except BaseException:
        os.close(file)
        raise


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        seen = f"{path} is written to by another process"
        raise OutputError(f"cannot write {WHAT}", seen, "Give another name or end that process") from None


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file still has that name."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False
