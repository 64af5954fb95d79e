"""Where results go: video, label maps, JSON lines, raw frames, a window, a camera, shared memory, ROS 2 topics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from edgeseg.runtime.sinks.base import Sink, wants_stop
from edgeseg.runtime.sinks.jsonl import JsonLines
from edgeseg.runtime.sinks.mask_video import MaskVideo, is_mask_video
from edgeseg.runtime.sinks.masks import Masks
from edgeseg.runtime.sinks.ros import FRAME_ID, RosTopics
from edgeseg.runtime.sinks.shared_memory import SharedMemory
from edgeseg.runtime.sinks.standard_output import StandardOutput
from edgeseg.runtime.sinks.video import Video
from edgeseg.runtime.sinks.virtual_camera import VirtualCamera
from edgeseg.runtime.sinks.window import Window
from edgeseg.types import Image, Result

__all__ = [
    "JsonLines",
    "MaskVideo",
    "Masks",
    "RosTopics",
    "SharedMemory",
    "Sink",
    "StandardOutput",
    "Video",
    "VirtualCamera",
    "Window",
    "open_sinks",
    "wants_stop",
]


def open_sinks(
    save: str | Path | None = None,
    masks: str | Path | None = None,
    jsonl: str | Path | None = None,
    show: bool = False,
    strength: float = 0.45,
    classes: Collection[str] | None = None,
    fps: float | None = None,
    live: bool = False,
    shm: str | None = None,
    ros: str | None = None,
    frame_id: str = FRAME_ID,
    shapes: str | None = None,
    camera: str | Path | None = None,
    draw: Callable[[Result], Image] | None = None,
) -> list[Sink]:
    """Open the sinks that are asked for, those that take least time first, so that ages in JSON lines are young.

    Args:
        save: the video file, or `-` for raw frames on standard output.
        masks: the folder of label maps, or a lossless video of them (.mkv); these always hold every class.
        jsonl: the file of JSON lines, `-` for standard output.
        show: open a window.
        strength: opacity of the tint where pictures are drawn, 0 to 1.
        classes: names of the classes drawn there; all when None.
        fps: the source's rate, None where it has none.
        live: whether the source is live.
        shm: the name of the shared memory.
        ros: what the names of ROS 2 topics begin with.
        frame_id: of the messages there.
        shapes: what JSON lines write areas as: "rle" or "polygon"; see `JsonLines`.
        camera: the device of a virtual camera.
        draw: makes the pictures of video, standard output, window and camera, in place of overlays.

    Raises:
        OutputError, UsageError, BackendError: one of them cannot be written; those opened before are closed.
    """
    picture = draw or (lambda result: result.overlay(strength, classes))
    standard_output = str(save) == "-"
    makers: list[tuple[object, Callable[[], Sink]]] = [
        (shm, lambda: SharedMemory(shm or "")),
        (ros, lambda: RosTopics(ros or "", frame_id)),
        (jsonl, lambda: JsonLines(jsonl or "-", live, shapes)),
        (masks, lambda: _masks(Path(masks or "."), fps, live)),
        (camera, lambda: VirtualCamera(camera or "", picture)),
        (show, lambda: Window("edgeseg", strength, classes, draw, live)),
        (standard_output, lambda: StandardOutput(fps, picture)),
        (save and not standard_output, lambda: Video(save or "", fps, live, draw=picture)),
    ]
    sinks: list[Sink] = []
    try:
        for wanted, make in makers:
            if wanted:
                sinks.append(make())
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return sinks


def _masks(target: Path, fps: float | None, live: bool) -> Masks | MaskVideo:
    return MaskVideo(target, fps, live) if is_mask_video(target) else Masks(target)
