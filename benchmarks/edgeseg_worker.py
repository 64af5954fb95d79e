"""edgeseg as a worker of `vs_mediapipe.py`: frame in, full-size mask out, with each pair of backend and precision.

    python edgeseg_worker.py FRAMES.npy MODEL

Candidate "auto" is what `edgeseg.load(MODEL)` gives; the others are "BACKEND PRECISION".
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from typing import Any

import numpy as np

import edgeseg
from edgeseg.runtime.backends import usable
from edgeseg.runtime.backends.timed import time_block
from edgeseg.runtime.zoo import find_model


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    frames = itertools.cycle(np.load(sys.argv[1]))
    model = sys.argv[2]
    segmenters = {"auto": edgeseg.load(model)}
    for backend in sorted(usable(), reverse=True):
        for precision in find_model(model).files:
            wanted = "auto" if precision == "file" else precision
            segmenters[f"{backend} {precision}"] = edgeseg.load(model, backend=backend, precision=wanted)
    auto = segmenters["auto"].backend
    result = segmenters["auto"](next(frames))
    ready = {
        "candidates": list(segmenters),
        "mask": f"{result.label_map.dtype} {list(result.label_map.shape)}",
        "auto": f"{auto.name} {auto.manifest.precision}",
        "input": f"{auto.manifest.width}x{auto.manifest.height}",
    }
    say(answers, ready)
    for line in sys.stdin:
        request = json.loads(line)
        segmenter = segmenters[request["candidate"]]
        say(answers, {"ms": time_block(lambda s=segmenter: s(next(frames)), request["calls"], request["warm"])})


def say(answers: Any, body: object) -> None:
    """Send one answer."""
    answers.write(json.dumps(body) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
