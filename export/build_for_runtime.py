"""Builds one engine for the runtime, which starts this as a process: see `edgeseg.runtime.backends.engine_cache`.

It reads one JSON object on standard input (model, out, library, precision, plugin, timing_cache, and batch and sizes of
an engine that is built again) and writes JSON lines: {"progress": [phase, done, total]}, at last {"built": path},
{"refused": [kind of error, cause, seen, todo]} or, after a Ctrl-C, which reaches all processes of a terminal,
{"stopped": true}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from edgeseg.errors import EdgeSegError


def main() -> None:
    """Build what standard input asks for."""
    # What native code prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**body: Any) -> None:
        answers.write(json.dumps(body) + "\n")
        answers.flush()

    order = json.loads(sys.stdin.read())
    try:
        out = build(order, lambda *step: tell(progress=step))
    except EdgeSegError as error:
        tell(refused=[type(error).__name__, error.cause, error.seen, error.todo])
    except KeyboardInterrupt:
        tell(stopped=True)
    else:
        tell(built=out)


def build(order: dict[str, Any], progress: Any) -> str:
    """The engine's path; a missing package is an error that names its extra."""
    from edgeseg.packages import missing_package

    try:
        from edgeseg.export.build_engine import build_engine

        sizes = [(height, width) for height, width in order.get("sizes", ())]
        build_engine(
            Path(order["model"]),
            Path(order["out"]),
            order["library"],
            order["precision"],
            Path(order["plugin"]) if order["plugin"] else None,
            timing_cache=Path(order["timing_cache"]) if order["timing_cache"] else None,
            batch=tuple(order.get("batch", (1, 1, 1))),
            progress=progress,
            sizes=(sizes[0], sizes[-1]) if sizes else None,
        )
    except ImportError as error:
        raise missing_package(error) or error from None
    return str(order["out"])


if __name__ == "__main__":
    main()
