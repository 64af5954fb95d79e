"""The machine's description: JSON, honest about what cannot be read, and right on made-up files of Linux."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeseg import machine


def test_description_is_json_with_the_real_versions() -> None:
    found = json.loads(json.dumps(machine.describe(), allow_nan=False))
    assert found["cpu"]
    assert 1 <= found["physical_cores"] <= found["cores"] <= (os.cpu_count() or 1)
    assert found["versions"]["numpy"] == np.__version__
    assert found["memory_gb"] > 0.1


def test_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.cores() == machine.physical_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1)])
def test_cores_follow_the_containers_quota(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cores() == expected


def test_clocks_governor_and_siblings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu in range(4):
        for name, text in {
            "cpufreq/scaling_cur_freq": f"{1_200_000 + cpu * 1000}",
            "cpufreq/scaling_governor": "powersave",
            "cpufreq/cpuinfo_max_freq": "3900000",
            "topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}",
        }.items():
            path = tmp_path / f"cpu{cpu}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    found = machine.describe()
    assert found["clock_mhz"] == [1200, 1201, 1202, 1203]
    assert (found["governor"], found["clock_max_mhz"]) == ("powersave", 3900)
    assert (found["cores"], found["physical_cores"]) == (4, 2)


def test_versions_of_what_is_not_there() -> None:
    assert machine.versions(["numpy", "no_such_package"]) == {"numpy": np.__version__, "no_such_package": None}


def test_busy_time_grows_with_work() -> None:
    before = machine.busy_s()
    assert before is not None
    total = 0
    while (after := machine.busy_s()) is not None and after[0] - before[0] < 0.03:
        total += sum(range(10_000))
    assert total and after is not None and after[1] >= before[1]
