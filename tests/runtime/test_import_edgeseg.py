"""`import edgeseg` is light: numpy and nothing heavier; tried in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import edgeseg

REPORT = """
import json, sys, time
import numpy
before, started = set(sys.modules), time.process_time()
import edgeseg
took_s = time.process_time() - started
edgeseg.load, edgeseg.stream, edgeseg.Result, edgeseg.UsageError, edgeseg.__version__
print(json.dumps({"took_s": took_s, "loaded": sorted(set(sys.modules) - before)}))
"""


def report() -> dict:
    run = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_importing_loads_numpy_only() -> None:
    loaded = report()["loaded"]
    tops = {name.partition(".")[0] for name in loaded}
    assert {name for name in tops if name not in sys.stdlib_module_names} <= {"edgeseg", "numpy"}
    assert not any(name.startswith("edgeseg.runtime") for name in loaded)


def test_importing_is_quick() -> None:
    # Processor time, and once is enough, since the machine may be busy with something else.
    assert any(report()["took_s"] < 0.15 for _ in range(5))


def test_everything_that_is_promised_is_there() -> None:
    for name in edgeseg.__all__:
        assert getattr(edgeseg, name) is not None
