"""Every fault that a run has to survive, done for real; benchmarks/reliability.py runs the same ones."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

import output_faults
import pytest
import source_faults
from faults import Outcome, Subject

from edgeseg.runtime.sinks import guarded
from edgeseg.runtime.sources.resilient import Patience

Fault = Callable[[Subject], Outcome]


@pytest.fixture
def subject(tmp_path: Path, tiny_model: Path) -> Subject:
    # A machine that pauses for a second or two must not look like a camera that is lost.
    return Subject(tmp_path, str(tiny_model), patience=Patience(stall_timeout_s=4.0, retry_s=0.5))


def name_of(fault: Fault) -> str:
    """`first_mask udp` for a function with that argument set."""
    inner = getattr(fault, "func", fault)
    return " ".join([inner.__name__, *map(str, getattr(fault, "keywords", {}).values())])


def survives(fault: Fault, subject: Subject, tries: int = 3) -> None:
    """What has to happen must happen each time; the time it takes is held once in a few tries, as machines pause."""
    before, outcomes = set(threading.enumerate()), list[Outcome]()
    while not outcomes or (not outcomes[-1].met and len(outcomes) < tries):
        folder = subject.folder / f"try{len(outcomes)}"
        folder.mkdir()
        outcomes.append(fault(dataclasses.replace(subject, folder=folder)))
    assert outcomes[-1].met, outcomes
    ends = time.monotonic() + 60
    while set(threading.enumerate()) - before and time.monotonic() < ends:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before, "no thread stays"


@pytest.mark.usefixtures("rtsp")
@pytest.mark.parametrize("fault", source_faults.NEED_SERVER, ids=name_of)
def test_of_cameras_on_the_network(fault: Fault, subject: Subject) -> None:
    survives(fault, subject)


@pytest.mark.parametrize("fault", source_faults.OTHERS, ids=name_of)
def test_of_streams_and_files(fault: Fault, subject: Subject) -> None:
    survives(fault, subject)


@pytest.mark.parametrize("fault", output_faults.FAULTS, ids=name_of)
def test_of_outputs(fault: Fault, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    # A sink that blocks costs all of it; a healthy one must come to its end in it on a machine that pauses.
    monkeypatch.setattr(guarded, "CLOSING_S", 3.0)
    monkeypatch.setattr(guarded, "HOLD_UP_S", 1.0)
    survives(fault, subject)


def test_of_a_disk_that_cannot_be_mounted(subject: Subject) -> None:
    survives(lambda on: output_faults.disk_full(on, mounted=False), subject)
