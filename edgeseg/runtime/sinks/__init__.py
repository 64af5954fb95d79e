"""Where results go: video, label maps, JSON lines, a window, shared memory, ROS 2 topics."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from edgeseg.runtime.sinks.base import Sink, wants_stop
from edgeseg.runtime.sinks.jsonl import JsonLines
from edgeseg.runtime.sinks.masks import Masks
from edgeseg.runtime.sinks.ros import FRAME_ID, RosTopics
from edgeseg.runtime.sinks.shared_memory import SharedMemory
from edgeseg.runtime.sinks.video import Video
from edgeseg.runtime.sinks.window import Window

__all__ = ["JsonLines", "Masks", "RosTopics", "SharedMemory", "Sink", "Video", "Window", "open_sinks", "wants_stop"]


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
) -> list[Sink]:
    """Open the sinks that are asked for, those that take least time first, so that ages in JSON lines are young.

    Args:
        save: the video file.
        masks: the folder of label maps; these always hold every class.
        jsonl: the file of JSON lines, `-` for standard output.
        show: open a window.
        strength: opacity of the tint in video and window, 0 to 1.
        classes: names of the classes drawn in video and window; all when None.
        fps: the source's rate, None where it has none.
        live: whether the source is live.
        shm: the name of the shared memory.
        ros: what the names of ROS 2 topics begin with.
        frame_id: of the messages there.

    Raises:
        OutputError, UsageError, BackendError: one of them cannot be written; those opened before are closed.
    """
    makers: list[tuple[object, Callable[[], Sink]]] = [
        (shm, lambda: SharedMemory(shm or "")),
        (ros, lambda: RosTopics(ros or "", frame_id)),
        (jsonl, lambda: JsonLines(jsonl or "-", live)),
        (masks, lambda: Masks(masks or ".")),
        (show, lambda: Window("edgeseg", strength, classes)),
        (save, lambda: Video(save or "", fps, live, strength, classes)),
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
