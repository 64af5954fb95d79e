"""What a run survives: servers that die or freeze, broken files, ill outputs, signals; each done for real.

    python benchmarks/reliability.py        writes benchmarks/results/reliability.json; nothing else should run

The faults are those of the tests (tests/runtime/source_faults.py and output_faults.py), done to a shipped model with
the options' default times. `python benchmarks/report.py` writes docs/reliability.md from the JSON. Exit code 5 where
one was not survived, or took longer than wanted. The network's faults want GStreamer's RTSP server, which
`make system-packages` installs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import HERE, keep_two_cores, tell, write_result

from edgeseg.cli.output import model_line
from edgeseg.errors import InputError

if TYPE_CHECKING:
    from faults import Outcome, Subject


def main() -> int:
    """Do it, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person", metavar="NAME|FILE")
    parser.add_argument("--backend", default="auto", metavar="NAME")
    args = parser.parse_args()
    # The helpers of the tests travel with the checkout, not with the package.
    sys.path.insert(0, str(HERE.parent / "tests" / "runtime"))
    from faults import Subject
    from output_faults import FAULTS
    from rtsp_server import why_absent
    from source_faults import NEED_SERVER, OTHERS

    absent = why_absent()
    if absent:
        raise InputError("the faults of network cameras cannot be done", absent, "Install it, then try again")
    cores = keep_two_cores()
    rows = []
    for fault in (*NEED_SERVER, *OTHERS, *FAULTS):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(fault, Subject(Path(folder), args.model, args.backend)))
        tell(f"{'met   ' if rows[-1]['met'] else 'MISSED'} {rows[-1]['fault']}: {rows[-1]['happened']}")
    with Subject(Path(), args.model, args.backend).segmenter() as segmenter:
        runs = model_line(segmenter)
    path = write_result("reliability", {"runs": runs, "rows": rows, "cores_used": cores})
    tell(f"written: {path}")
    return 0 if all(found["met"] for found in rows) else 5


def row(fault: Callable[[Subject], Outcome], subject: Subject) -> dict[str, Any]:
    """One fault's line; a broken promise is a line, too."""
    started = time.monotonic()
    try:
        outcome = fault(subject)
    except AssertionError as error:
        name = getattr(fault, "func", fault).__name__.replace("_", " ")
        told = f"NOT survived: {error or traceback.extract_tb(error.__traceback__)[-1].line}"
        return {"fault": name, "happened": told, "seconds": {}, "limits_s": {}, "took_s": _since(started), "met": False}
    return {
        "fault": outcome.fault,
        "happened": outcome.happened,
        "seconds": {what: round(value, 2) for what, value in outcome.seconds.items()},
        "limits_s": outcome.limits_s,
        "took_s": _since(started),
        "met": outcome.met,
    }


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


if __name__ == "__main__":
    sys.exit(main())
