"""The sink behind `Pipeline.results()`: hands each result to whoever iterates."""

from __future__ import annotations

from edgeseg.runtime.mailbox import Waiting
from edgeseg.types import Result


class Outbox:
    """Puts results where the iterator takes them from."""

    def __init__(self, outbox: Waiting[Result]) -> None:
        self._outbox = outbox

    def write(self, result: Result) -> None:
        """Wait until the consumer takes the result; nobody misses it when the consumer has left."""
        self._outbox.put(result)

    def close(self) -> None:
        """Nothing more comes."""
        self._outbox.close()
