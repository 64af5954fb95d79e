"""How label maps lie in shared memory, version 1: the same as docs/shared_memory.md tells readers in other languages.

    header (128 bytes) | class table | slot 0 | slot 1 | ...        a slot: 64 bytes, then the label map row by row

All words are unsigned 64-bit integers in the machine's byte order.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from edgeseg.types import ClassInfo

FOLDER = "/dev/shm"
MAGIC = int.from_bytes(b"edgeseg\0", "little")
VERSION = 1
PAGE = 4096

HEADER_BYTES = 128
CLASS_BYTES = 64  # id, blue, green, red: a byte each; then the name in UTF-8, filled up with zeros
NAME_BYTES = 60  # the last is always zero
SLOT_HEADER_BYTES = 64


class Word(IntEnum):
    """Places of the header's words."""

    MAGIC = 0
    VERSION = 1
    STATE = 2
    WRITTEN = 3
    SLOTS = 4
    STRIDE = 5
    FIRST_SLOT = 6
    CLASSES = 7
    CLASS_TABLE = 8
    WRITER = 9


class State(IntEnum):
    """What the header says of its segment."""

    OPEN = 1
    REPLACED = 2
    ENDED = 3


class SlotWord(IntEnum):
    """Places of a slot's words. Map number n lies in slot n modulo the number of slots.

    SEQUENCE is 2n + 1 while map n is being written and 2n + 2 once it is whole.
    """

    SEQUENCE = 0
    FRAME = 1
    CAPTURED_NS = 2
    HEIGHT = 3
    WIDTH = 4


def pages(size: int) -> int:
    """`size` bytes, filled up to whole pages."""
    return -(-size // PAGE) * PAGE


def class_table(classes: Sequence[ClassInfo]) -> bytes:
    """The class map as rows of CLASS_BYTES; names that are too long are cut between two characters."""
    rows = []
    for info in classes:
        name = info.name.encode()[: NAME_BYTES - 1].decode(errors="ignore").encode()
        rows.append(bytes((info.id, *info.color)) + name.ljust(NAME_BYTES, b"\0"))
    return b"".join(rows)
