"""What a recording of a run is: a folder from which the run can be had again, mask for mask.

DIR/recording.json       the source, the settings, the model's hash; the counts once the run has ended
DIR/frames.jsonl         a line a frame that the source gave: taken, dropped or skipped, why, stamps, its mask's hash,
                         and which model ran it where a budget chose a smaller one
DIR/frames-000.mkv ...   the frames that were taken, bit for bit (FFV1); a new file where their size changes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InputError
from edgeseg.types import Result

PREFIX = "replay:"
HEAD, LINES = "recording.json", "frames.jsonl"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Head:
    """What is the same for all frames.

    Attributes:
        source: as the user named it.
        live, fps, unrelated: of the source; see `Source`.
        settings: the options that decide on masks, by their names on the command line.
        model_sha256: of the model file that ran.
        machine: what it ran on.
        counts: frames_in, frames_out, dropped, skipped, failed; empty for a run that was killed, and for a recording
            that ends before its run.
        incomplete: why it ends before its run; None where it does not.
    """

    source: str
    live: bool
    fps: float | None
    unrelated: bool
    settings: Mapping[str, Any]
    model_sha256: str
    machine: Mapping[str, Any]
    counts: Mapping[str, int] = field(default_factory=dict)
    incomplete: str | None = None

    def to_bytes(self) -> bytes:
        """The content of recording.json."""
        body = {"format_version": FORMAT_VERSION, **asdict(self)}
        return (json.dumps(body, indent=2) + "\n").encode()


def segment_name(number: int) -> str:
    """The file of the frames of one size, from 0."""
    return f"frames-{number:03d}.mkv"


def read_head(folder: Path) -> Head:
    """Read recording.json; InputError where it is none, or of another version."""
    path = folder / HEAD
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        seen = f"{path} ({error.strerror})"
        raise InputError("the folder holds no recording", seen, "Name one that run --record has written") from None
    except ValueError as error:
        raise InputError("the recording's head is damaged", f"{path} ({error})", "Restore it from a copy") from None
    version = body.pop("format_version", None) if isinstance(body, dict) else None
    # Those of before `incomplete` lack it.
    if version != FORMAT_VERSION or {*body, "incomplete"} != {item.name for item in fields(Head)}:
        todo = "Replay it with the edgeseg that wrote it"
        raise InputError("the recording has another format", f"{path} (version {version})", todo)
    if not isinstance(body["settings"], dict):
        raise InputError("the recording's head is damaged", f"{path} (settings)", "Restore it from a copy")
    return Head(**body)


def mask_digest(result: Result) -> str:
    """SHA-256 of what a model said of a frame, hexadecimal: of the label map, and of instances' parts."""
    parts: list[npt.NDArray[Any]] = [result.label_map]
    if (found := result.instances) is not None:
        parts += [found.boxes, found.scores, found.classes, found.mask_probabilities]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
