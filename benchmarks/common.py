"""What the benchmarks share: frames of a real clip, two cores for everyone, ratios by round, results as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.data.shared import shared_root
from edgeseg.errors import InputError
from edgeseg.machine import clocks_mhz, describe

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
# Environments and frames that can be made again; holds a .gitignore of its own.
SCRATCH = HERE.parent / ".bench"
CLIP = "clips/webcam-sign-yes.mkv"
WIDTH, HEIGHT = 1280, 720


def scratch() -> Path:
    """The folder for what git must not see, made if need be."""
    SCRATCH.mkdir(exist_ok=True)
    (SCRATCH / ".gitignore").write_text("*\n", encoding="utf-8")
    return SCRATCH


def clip_path(given: str | None) -> Path:
    """The clip that was named, or the one of the shared data."""
    path = Path(given) if given else shared_root() / CLIP
    if not path.is_file():
        raise InputError("the clip does not exist", path, "Give --clip FILE, or set EDGESEG_SHARED")
    return path


def clip_frames(path: Path, count: int) -> npt.NDArray[np.uint8]:
    """The first frames of a clip, cut to 16:9 around the centre and scaled up: uint8 [count, 720, 1280, 3], BGR."""
    import av
    import cv2

    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="bgr24")
            rows = min(image.shape[0], round(image.shape[1] * HEIGHT / WIDTH))
            top = (image.shape[0] - rows) // 2
            frames.append(cv2.resize(image[top : top + rows], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
            if len(frames) == count:
                break
    return np.stack(frames)


def keep_two_cores() -> list[int]:
    """Bind this process, and what it starts, to two cores, so that all candidates have the same."""
    allowed = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, allowed)
    return allowed


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and spread of one figure a round."""
    low, median, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
    return {
        "median": median,
        "quartile_low": low,
        "quartile_high": high,
        "min": float(min(values)),
        "max": float(max(values)),
        "rounds": len(values),
    }


def write_result(name: str, body: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json, machine and revision beside the figures, aside and then renamed."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    machine = describe() | {"clock_mhz_end": clocks_mhz()}
    command = f"python benchmarks/{Path(sys.argv[0]).name}"
    head = {"command": command, "revision": revision()}
    text = json.dumps({**head, **body, "machine": machine}, indent=2, allow_nan=False) + "\n"
    aside = path.with_suffix(".json.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
    return path


def revision() -> str | None:
    """The checkout's commit, with "-dirty" where files other than results differ from it; None outside of git."""
    # Results are what is being written, some of them before others.
    changed = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)benchmarks/results"]
    try:
        commit, dirty = (
            subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["git", "rev-parse", "--short=12", "HEAD"], changed)
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "-dirty" * bool(dirty)


def gpu() -> dict[str, str] | None:
    """Name, driver and clocks of the first GPU now, as the driver's own tool prints them; None where it is absent."""
    keys = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(keys)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(zip(keys, (word.strip() for word in done.stdout.split(",")), strict=True))


def tell(text: str) -> None:
    """A line on how far it is."""
    print(text, file=sys.stderr, flush=True)
