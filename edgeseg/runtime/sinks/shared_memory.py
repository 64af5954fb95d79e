"""Label maps in shared memory, for other programs on the same machine: a ring that nobody waits for."""

from __future__ import annotations

import re

from edgeseg.errors import UsageError
from edgeseg.runtime.sinks.shared_layout import State
from edgeseg.runtime.sinks.shared_segment import Segment, make_segment
from edgeseg.types import Result


class SharedMemory:
    """Keeps the newest label maps in the POSIX shared memory NAME, with frame number, moment of capture and class map.

    docs/shared_memory.md has the layout, examples/ readers in Python and C++. The segment belongs to this user alone
    (mode 0600). It is as large as the maps need; when larger ones come, another takes its place and readers are told.
    What a process that died left under the name is taken over; `close` takes the name away.

    Args:
        name: letters, digits, `-` and `_`; a slash in front, as C programs write it, is left out.

    Raises:
        UsageError: another kind of name.
        OutputError: the name belongs to another process or program, or memory is short; also from `write`.
    """

    def __init__(self, name: str) -> None:
        self._name = name.removeprefix("/")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", self._name):
            raise UsageError("bad name for shared memory", name, "Use letters, digits, - and _")
        # How large maps are is not known yet: this one holds the name.
        self._segment: Segment | None = make_segment(self._name)

    def write(self, result: Result) -> None:
        """Write one label map."""
        if self._segment is None:
            raise RuntimeError("the sink is closed")
        if result.label_map.size > self._segment.capacity:
            self._segment = make_segment(self._name, result.classes, result.label_map.size, self._segment)
        self._segment.put(result)

    def close(self) -> None:
        """Tell readers that this was all, and take the name away."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.leave(State.ENDED)
