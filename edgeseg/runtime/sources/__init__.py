"""Where frames come from: `open_source` reads the user's word for it and opens the kind that it names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.recording import PREFIX as REPLAY
from edgeseg.runtime.sources.base import FrameSource, Source
from edgeseg.runtime.sources.camera import open_camera
from edgeseg.runtime.sources.decoding import HARDWARE, jetson_decodes
from edgeseg.runtime.sources.gstreamer import PREFIX as GST
from edgeseg.runtime.sources.gstreamer import csi_camera, open_pipeline, pipeline_source
from edgeseg.runtime.sources.gstreamer_text import file_pipeline
from edgeseg.runtime.sources.network import ADDRESS, StreamOptions, network_camera
from edgeseg.runtime.sources.pictures import Pictures, by_pattern, in_folder, is_picture
from edgeseg.runtime.sources.raw import NAME as RAW_NAME
from edgeseg.runtime.sources.raw import RawFormat, RawFrames
from edgeseg.runtime.sources.recorded import Recorded
from edgeseg.runtime.sources.synthetic import PREFIX, Synthetic
from edgeseg.runtime.sources.video import VideoFile

__all__ = [
    "DEMO_CLIP",
    "FrameSource",
    "Pictures",
    "RawFormat",
    "Recorded",
    "Source",
    "StreamOptions",
    "Synthetic",
    "VideoFile",
    "open_source",
]

DEMO_CLIP = Path(__file__).resolve().parents[2] / "clips" / "demo.mp4"
KNOWN = (
    "demo, a camera (0, /dev/video0, csi://0, rtsp://...), a video file, a folder, a pattern ('dir/*.jpg'), "
    "gst:PIPELINE, raw frames (-), replay:DIR or synthetic:1280x720@30"
)
_LATER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Opener = Callable[[str, "int | None", StreamOptions], FrameSource]


def open_source(
    spec: str | os.PathLike[str], max_frames: int | None = None, options: StreamOptions | None = None
) -> Source:
    """Open a source. It is a context manager, and closes itself when its iteration ends.

    Args:
        spec: `demo` (a clip that ships), `0` (a camera's index), `/dev/video0`, `rtsp://host/path` (a camera on the
            network, which is connected to again when it is lost), a video file, a picture, a folder of pictures, a
            pattern (`'dir/*.jpg'`), `synthetic:1280x720@30` (a live camera of that rate), `synthetic:1280x720`
            (unpaced, waits like a file), `csi://0` (a Jetson's camera), `gst:` and a GStreamer pipeline, or `-` (raw
            frames on standard input, whose size is in the options), `replay:DIR` (the frames of a recording).
        max_frames: the source ends after so many frames.
        options: how cameras are waited for and read on the network, who decodes, what raw frames are.

    Raises:
        UsageError: a kind of source that this version does not have, a misspelt one, or `max_frames` below 1.
        InputError: what is named cannot be opened or holds nothing to read.
        BackendError: the package that reads this kind is not installed.
    """
    word, options = os.fspath(spec), options or StreamOptions()
    for matches, opened in _KINDS:
        if matches(word):
            return opened(word, max_frames, options)
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


def _video(word: str, max_frames: int | None, options: StreamOptions) -> FrameSource:
    hardware = options.decode == HARDWARE
    if hardware and jetson_decodes():
        return pipeline_source(word, file_pipeline(word), max_frames, options.patience)
    return VideoFile(word, word, max_frames, hardware)


def _later(word: str, max_frames: int | None, options: StreamOptions) -> FrameSource:
    raise UsageError("this kind of source is not in this version", word, f"Give {KNOWN}")


# The first kind that matches opens the source. What exists as a file comes before patterns, as its name may hold one.
_KINDS: tuple[tuple[Callable[[str], object], Opener], ...] = (
    (ADDRESS.match, network_camera),
    (_is_camera, lambda word, limit, options: open_camera(word, limit, options.patience)),
    (lambda word: word == "demo", lambda word, limit, _: VideoFile(DEMO_CLIP, word, limit)),
    (lambda word: word.startswith(PREFIX), lambda word, limit, _: Synthetic(word, limit)),
    (lambda word: word == RAW_NAME, lambda _, limit, options: RawFrames(options.raw, limit)),
    (lambda word: word.startswith(GST), lambda word, limit, options: open_pipeline(word, limit, options.patience)),
    (lambda word: word.startswith("csi:"), lambda word, limit, options: csi_camera(word, limit, options.patience)),
    (lambda word: word.startswith(REPLAY), lambda word, limit, _: Recorded(word, limit)),
    (_LATER.match, _later),
    (_is_folder, lambda word, limit, _: Pictures(in_folder(Path(word)), word, limit)),
    (_is_picture, lambda word, limit, _: Pictures([Path(word)], word, limit)),
    (lambda word: bool(_mode(word)), _video),
    (lambda word: any(c in word for c in "*?["), lambda word, limit, _: Pictures(by_pattern(word), word, limit)),
)
