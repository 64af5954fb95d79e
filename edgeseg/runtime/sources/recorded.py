"""A recorded run as a source: the frames that were taken then, with the stamps that they had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import InputError
from edgeseg.runtime.recording import LINES, PREFIX, read_head, segment_name
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.runtime.sources.video import open_video
from edgeseg.types import Frame, Image

_OF_TAKEN = ("frame", "segment", "mask", "captured_ns", "pts_s", "name", "session")


class Recorded(FrameSource):
    """The frames of a recording that were taken, in order, bit for bit; it waits like a file.

    Args:
        spec: `replay:DIR`.
        max_frames: end after so many frames.

    Attributes:
        head: what the recording says of its run.
        masks: SHA-256 of each frame's mask, by the frame's number.
        models: place of the model that ran each frame, by the frame's number; 0 is the one that the user named.
        dropped, skipped: frames that were dropped or skipped then, of those that the source gave before the newest
            frame.

    Raises:
        InputError: the folder holds no recording, or one without frames.
        BackendError: PyAV is not installed.
    """

    def __init__(self, spec: str, max_frames: int | None = None) -> None:
        super().__init__(spec, max_frames)
        self._folder = Path(spec.removeprefix(PREFIX))
        self.head = read_head(self._folder)
        self.fps, self.unrelated = self.head.fps, self.head.unrelated
        self._lines = _read_lines(self._folder / LINES)
        taken = [line for line in self._lines if line["decision"] == "taken"]
        self.masks = {line["frame"]: line["mask"] for line in taken}
        self.models = {line["frame"]: line.get("model", 0) for line in taken}
        if not self.masks:
            raise InputError("the recording holds no frame", self._folder, "Record another")
        self.dropped = self.skipped = 0
        self._place = 0
        self._segment = -1
        self._pictures: Iterator[Image] = iter(())

    def _read(self) -> Frame | None:
        while self._place < len(self._lines):
            line = self._lines[self._place]
            self._place += 1
            if line["decision"] == "taken":
                return self._frame(line)
            if line["decision"] == "skipped":
                self.skipped += 1
            else:
                self.dropped += 1
        return None

    def _frame(self, line: dict[str, Any]) -> Frame | None:
        if line["segment"] != self._segment:
            self._segment = line["segment"]
            self._pictures = _decode(self._folder / segment_name(self._segment))
        image = next(self._pictures, None)
        if image is None:
            self.broken = f"{segment_name(self._segment)} ends before frame {line['frame']}"
            return None
        stamps = {key: line[key] for key in ("captured_ns", "pts_s", "name", "session")}
        return Frame(image, line["frame"], source=self.head.source, **stamps)

    def _release(self) -> None:
        # A generator that is let go closes its file.
        self._pictures = iter(())


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """By the frames' numbers, since a drop is noted before the result of the frame before it is there."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
        # The last line of a run that was killed may be half.
        lines = [json.loads(text) for text in texts if text.endswith("\n")]
        for line in lines:
            _ = [line[key] for key in (_OF_TAKEN if line["decision"] == "taken" else ("frame",))]
        return sorted(lines, key=lambda line: line["frame"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        seen = f"{path} ({error})"
        raise InputError("the recording's lines cannot be read", seen, "Restore them from a copy") from None


def _decode(path: Path) -> Iterator[Image]:
    import av

    container, stream, _ = open_video(path)
    with container:
        try:
            for frame in container.decode(stream):
                yield np.ascontiguousarray(frame.to_ndarray(format="bgra")[..., :3], np.uint8)
        except av.FFmpegError:  # the file of a run that was killed
            return
