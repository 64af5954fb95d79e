"""What TensorRT says while it builds and loads: its complaints, whether memory ran out, and how much an engine needs.

The lines are the same in TensorRT 10.6, 10.15, 11.2 and TensorRT-RTX 1.7.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

# A running engine may complain at every call.
_KEPT = 200
_NO_MEMORY = re.compile(
    r"(?i)out ?of ?memory|memory .*could not be allocated|insufficient memory|memory is insufficient|bad_alloc|"
    # cudaErrorMemoryAllocation
    r"MemoryError|CUDA initialization failure with error: 2\b"
)
_FIGURES = {
    "activation_bytes": (re.compile(r"Total Activation Memory: (\d+) bytes"), 1),
    "persistent_bytes": (re.compile(r"Total Device Persistent Memory: (\d+) bytes"), 1),
    "weights_bytes": (re.compile(r"Total Weights Memory: (\d+) bytes"), 1),
    "build_peak_device_bytes": (re.compile(r"Peak memory usage of TRT CPU/GPU .*GPU (\d+) MiB"), 1 << 20),
}
# What an engine takes on the device beside its inputs and outputs.
_OF_THE_ENGINE = ("activation_bytes", "persistent_bytes", "weights_bytes")


def make_logger(library: Any, echo: bool = False) -> Any:
    """A logger of `library` (the module `tensorrt` or `tensorrt_rtx`); with `echo` complaints go to standard error too.

    Its attribute `memory` has what was said of memory so far, bytes by name (`memory_figures`); `last()` is the last
    complaint, `no_memory()` the last one that says that memory ran out, or "".
    """
    severities = library.ILogger

    class Log(severities):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            severities.__init__(self)
            self.memory: dict[str, int] = {}
            self._complaints: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, message: str) -> None:
            text = message.strip()
            if severity in (severities.INTERNAL_ERROR, severities.ERROR, severities.WARNING):
                self._complaints.extend(text.splitlines()[:1])
                if echo:
                    print(text, file=sys.stderr, flush=True)
            else:
                self.memory |= memory_figures(text)

        def last(self) -> str:
            return self._complaints[-1] if self._complaints else "it says nothing"

        def no_memory(self) -> str:
            return no_memory(self._complaints)

    return Log()


def no_memory(lines: Iterable[str]) -> str:
    """The last line that says that memory ran out; "" where none does."""
    return next((line for line in reversed(list(lines)) if _NO_MEMORY.search(line)), "")


def memory_figures(line: str) -> dict[str, int]:
    """What one line of a builder's log says of memory, bytes by name; most lines say nothing.

    `activation_bytes`, `persistent_bytes`, `weights_bytes`: of the engine, on the device. `build_peak_device_bytes`: of
    the builder, in whole MiB.
    """
    if "emory" not in line:
        return {}
    found = ((name, form.search(line), unit) for name, (form, unit) in _FIGURES.items())
    return {name: int(match[1]) * unit for name, match, unit in found if match}


def device_bytes(built: Mapping[str, Any]) -> int | None:
    """What an engine takes on the device beside its inputs and outputs; None where its builder did not say all of it.

    Args:
        built: `origin["engine"]` of its manifest.
    """
    said: Mapping[str, int] = built.get("memory", {})
    return sum(said[name] for name in _OF_THE_ENGINE) if said.keys() >= set(_OF_THE_ENGINE) else None
