"""What faults have in common: whom they are done to, what is said meanwhile, and what came of it.

A fault (`source_faults`, `output_faults`) is done for real. Whether it was survived as it should be is asserted there;
how long that took comes back, with the limits. Tests run the faults on a tiny model, `benchmarks/reliability.py` runs
them on one that ships, for docs/reliability.md.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path

from edgeseg.runtime.segmenter import Segmenter, open_segmenter
from edgeseg.runtime.sources.resilient import Patience


@dataclass(frozen=True)
class Subject:
    """Who has to survive.

    Attributes:
        folder: for files; exists.
        model: name or path.
        backend: its name.
        patience: times to wait for network cameras.
    """

    folder: Path
    model: str
    backend: str = "onnxruntime"
    patience: Patience = Patience()

    @property
    def words(self) -> list[str]:
        """The same on the command line."""
        return ["--model", self.model, "--backend", self.backend]

    def segmenter(self) -> Segmenter:
        """The model, warm."""
        segmenter = open_segmenter(self.model, self.backend)
        segmenter.warm_up()
        return segmenter


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    Attributes:
        fault: what was done.
        happened: what came of it, in words.
        seconds: what took how long.
        limits_s: how long those of them may take that have a limit.
    """

    fault: str
    happened: str
    seconds: dict[str, float] = field(default_factory=dict)
    limits_s: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every limit was held."""
        return all(self.seconds[what] <= limit for what, limit in self.limits_s.items())


class Told(io.StringIO):
    """A standard error that remembers when each line came. For `contextlib.redirect_stderr`."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []

    def write(self, text: str) -> int:
        self.lines.append((time.monotonic(), text))
        return len(text)

    def about(self, word: str) -> list[str]:
        """The lines with a word in them."""
        return [line for _, line in self.lines if word in line]

    def wait_for(self, word: str, timeout_s: float = 60.0) -> float:
        """When the first line with that word came (monotonic seconds)."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            for at, line in list(self.lines):
                if word in line:
                    return at
            time.sleep(0.01)
        raise AssertionError(f"nobody said {word!r}: {self.lines}")
