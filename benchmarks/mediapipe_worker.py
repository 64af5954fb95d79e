"""MediaPipe's selfie segmentation as a worker of `vs_mediapipe.py`. Runs in an environment of its own, without edgeseg.

    python mediapipe_worker.py FRAMES.npy MODEL_SELECTION

Frames are uint8 [n, 720, 1280, 3], BGR. Candidate "rgb" gets them as RGB, prepared before: that is what MediaPipe
takes, and what it is compared by. Candidate "bgr" converts inside the measured time, as a camera's user must.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
from typing import Any

import numpy as np


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    import cv2
    import mediapipe

    bgr = np.load(sys.argv[1])
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    network: Any = mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=int(sys.argv[2]))
    for image in bgr, rgb:
        image.flags.writeable = False  # MediaPipe then takes it without a copy
    every_rgb, every_bgr = itertools.cycle(rgb), itertools.cycle(bgr)

    def with_rgb() -> object:
        return network.process(next(every_rgb)).segmentation_mask

    def with_bgr() -> object:
        return network.process(cv2.cvtColor(next(every_bgr), cv2.COLOR_BGR2RGB)).segmentation_mask

    candidates = {"rgb": with_rgb, "bgr": with_bgr}
    mask: Any = with_rgb()
    say(
        answers,
        {
            "candidates": list(candidates),
            "mask": f"{mask.dtype} {list(mask.shape)}",
            "versions": {"mediapipe": mediapipe.__version__, "numpy": np.__version__, "opencv": cv2.__version__},
            "python": sys.version.split()[0],
        },
    )
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        call = candidates[request["candidate"]]
        for _ in range(request["warm"]):
            call()
        times_ms = []
        for _ in range(request["calls"]):
            started = time.perf_counter_ns()
            call()
            times_ms.append((time.perf_counter_ns() - started) / 1e6)
        say(answers, {"ms": times_ms})
        gc.collect()


def say(answers: Any, body: object) -> None:
    answers.write(json.dumps(body) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
