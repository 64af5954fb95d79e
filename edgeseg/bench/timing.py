"""The protocol of a measurement: blocks of calls, the candidates in turn, until there are enough rounds.

    round:   candidate 1: pause, 2 calls, 8 timed calls     candidate 2: pause, 2 calls, 8 timed calls     ...
    rounds:  forwards, backwards, forwards ... for at least `seconds`

Candidates alternate, so that a machine that grows warm or gets neighbours treats all alike; only one is at work at a
time, and the pause lets the threads of the one before go to sleep. See `edgeseg.runtime.backends.timed` for why the
quiet blocks count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeseg.errors import UsageError
from edgeseg.machine import busy_s, cores
from edgeseg.runtime.backends.timed import Block, time_block

Call = Callable[[], object]
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        samples: timed calls of each candidate, at least.
        seconds: duration of all rounds, at least: quiet moments come and go within seconds, so some must fall inside.
        limit_s: after this the rounds end even if there are fewer samples, for devices on which a call takes long.
        warmup: calls of each candidate before the first round, never counted.
        block: timed calls in a row.
        block_warmup: calls before each block that do not count: caches and threads belong to the candidate again.
        pause_s: before each block.
    """

    samples: int = 600
    seconds: float = 30.0
    limit_s: float = 180.0
    warmup: int = 30
    block: int = 8
    block_warmup: int = 2
    pause_s: float = 0.005

    def __post_init__(self) -> None:
        for name in ("samples", "warmup", "block"):
            if getattr(self, name) < 1:
                raise UsageError(f"bad {name}", getattr(self, name), "Give at least 1")


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured.

    Attributes:
        blocks: milliseconds of each timed call, in blocks, by candidate.
        duration_s: of all rounds.
        others_share: part of the machine's CPU time that went to other processes; None where it cannot be read.
        stolen_share: part that the hypervisor gave to other machines; None where it cannot be read.
    """

    blocks: Mapping[str, list[Block]]
    duration_s: float
    others_share: float | None
    stolen_share: float | None


def run_rounds(candidates: Mapping[str, Call], plan: Plan, tell: Tell | None = None) -> Rounds:
    """Time every candidate by the plan; `tell` gets a line on how far it is now and then."""
    for name, call in candidates.items():
        if tell:
            tell(f"warming up: {name}")
        time_block(call, plan.warmup)
    blocks: dict[str, list[Block]] = {name: [] for name in candidates}
    order = list(candidates)
    before, own_before, started = busy_s(), time.process_time(), time.monotonic()
    while not _enough(blocks, plan, time.monotonic() - started):
        for name in order:
            time.sleep(plan.pause_s)
            blocks[name].append(time_block(candidates[name], plan.block, plan.block_warmup))
        order.reverse()
        if tell:
            tell(f"measuring: round {len(blocks[order[0]])}, {time.monotonic() - started:.0f} s")
    duration_s = time.monotonic() - started
    own_s, after = time.process_time() - own_before, busy_s()
    if before is None or after is None:
        return Rounds(blocks, duration_s, None, None)
    available_s = duration_s * cores()
    # Both clocks tick in hundredths: an idle machine may come out slightly below nothing.
    others = max(0.0, after[0] - before[0] - own_s) / available_s
    return Rounds(blocks, duration_s, others, (after[1] - before[1]) / available_s)


def _enough(blocks: Mapping[str, list[Block]], plan: Plan, elapsed_s: float) -> bool:
    rounds = min(len(made) for made in blocks.values())
    complete = rounds * plan.block >= plan.samples and elapsed_s >= plan.seconds
    return complete or (rounds > 0 and elapsed_s >= plan.limit_s)
