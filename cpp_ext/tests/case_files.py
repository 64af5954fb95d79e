"""How the files of cases look that the kernels' tests read: 12 little-endian int64, then bytes, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x6573_6567_6361_7365
HEAD = 12


def case(numbers: Sequence[int], *arrays: Any) -> bytes:
    """One case: the magic number and `numbers`, filled up with zeros, then the arrays in their own types."""
    head = [MAGIC, *numbers] + [0] * (HEAD - 1 - len(numbers))
    assert len(head) == HEAD
    return np.array(head, "<i8").tobytes() + b"".join(np.ascontiguousarray(part).tobytes() for part in arrays)


def write(path: Path, cases: Iterable[bytes], oracle: str) -> None:
    """All cases into one file, which is complete once it is there."""
    part, count = Path(f"{path}.part"), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as out:
        for one in cases:
            out.write(one)
            count += 1
    part.replace(path)
    print(f"{count} cases of {oracle} in {path}")
