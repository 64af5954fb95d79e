"""Where frames come from: `open_source` reads the user's word for it and opens the kind that it names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.sources.base import FrameSource, Source
from edgeseg.runtime.sources.camera import open_camera
from edgeseg.runtime.sources.network import ADDRESS, StreamOptions, network_camera
from edgeseg.runtime.sources.pictures import Pictures, by_pattern, in_folder, is_picture
from edgeseg.runtime.sources.synthetic import PREFIX, Synthetic
from edgeseg.runtime.sources.video import VideoFile

__all__ = [
    "DEMO_CLIP",
    "FrameSource",
    "Pictures",
    "Source",
    "StreamOptions",
    "Synthetic",
    "VideoFile",
    "open_source",
]

DEMO_CLIP = Path(__file__).resolve().parents[2] / "clips" / "demo.mp4"
KNOWN = (
    "demo, a camera (0, /dev/video0, rtsp://...), a video file, a folder, a pattern ('dir/*.jpg') or "
    "synthetic:1280x720@30"
)
_LATER = re.compile(r"-$|(?:gst|replay|csi):|[A-Za-z][A-Za-z0-9+.-]*://")

Opener = Callable[[str, "int | None"], FrameSource]


def open_source(
    spec: str | os.PathLike[str], max_frames: int | None = None, options: StreamOptions | None = None
) -> Source:
    """Open a source. It is a context manager, and closes itself when its iteration ends.

    Args:
        spec: `demo` (a clip that ships), `0` (a camera's index), `/dev/video0`, `rtsp://host/path` (a camera on the
            network, which is connected to again when it is lost), a video file, a picture, a folder of pictures, a
            pattern (`'dir/*.jpg'`), `synthetic:1280x720@30` (a live camera of that rate) or `synthetic:1280x720`
            (unpaced, waits like a file).
        max_frames: the source ends after so many frames.
        options: how cameras are waited for, and read on the network.

    Raises:
        UsageError: a kind of source that this version does not have, a misspelt one, or `max_frames` below 1.
        InputError: what is named cannot be opened or holds nothing to read.
        BackendError: the package that reads this kind is not installed.
    """
    word = os.fspath(spec)
    if ADDRESS.match(word):
        return network_camera(word, max_frames, options)
    if _is_camera(word):
        return open_camera(word, max_frames, options.patience if options else None)
    for matches, opened in _KINDS:
        if matches(word):
            return opened(word, max_frames)
    raise InputError("there is no such file, folder or source", word or "''", f"Give {KNOWN}")


def _mode(word: str) -> int:
    """What kind of thing a path names, links followed; 0 where there is nothing, or no path in that word."""
    try:
        return Path(word).stat().st_mode if word else 0
    except (OSError, ValueError):
        return 0


def _is_camera(word: str) -> bool:
    return word.isdecimal() or bool(re.fullmatch(r"/dev/video\d+", word)) or stat.S_ISCHR(_mode(word))


def _is_folder(word: str) -> bool:
    return stat.S_ISDIR(_mode(word))


def _is_picture(word: str) -> bool:
    return bool(_mode(word)) and is_picture(word)


def _later(word: str, max_frames: int | None) -> FrameSource:
    raise UsageError("this kind of source is not in this version", word, f"Give {KNOWN}")


# The first kind that matches opens the source. What exists as a file comes before patterns, as its name may hold one.
_KINDS: tuple[tuple[Callable[[str], bool], Opener], ...] = (
    (lambda word: word == "demo", lambda word, limit: VideoFile(DEMO_CLIP, word, limit)),
    (lambda word: word.startswith(PREFIX), Synthetic),
    (lambda word: _LATER.match(word) is not None, _later),
    (_is_folder, lambda word, limit: Pictures(in_folder(Path(word)), word, limit)),
    (_is_picture, lambda word, limit: Pictures([Path(word)], word, limit)),
    (lambda word: bool(_mode(word)), lambda word, limit: VideoFile(word, word, limit)),
    (lambda word: any(c in word for c in "*?["), lambda word, limit: Pictures(by_pattern(word), word, limit)),
)
