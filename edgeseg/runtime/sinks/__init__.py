"""Where results go: video, label maps, JSON lines, a window."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from edgeseg.runtime.sinks.base import Sink, wants_stop
from edgeseg.runtime.sinks.jsonl import JsonLines
from edgeseg.runtime.sinks.masks import Masks
from edgeseg.runtime.sinks.video import Video
from edgeseg.runtime.sinks.window import Window

__all__ = ["JsonLines", "Masks", "Sink", "Video", "Window", "open_sinks", "wants_stop"]


def open_sinks(
    save: str | Path | None = None,
    masks: str | Path | None = None,
    jsonl: str | Path | None = None,
    show: bool = False,
    strength: float = 0.45,
    classes: Collection[str] | None = None,
    fps: float | None = None,
    live: bool = False,
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

    Raises:
        OutputError, UsageError, BackendError: one of them cannot be written; those opened before are closed.
    """
    makers: list[tuple[object, Callable[[], Sink]]] = [
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
