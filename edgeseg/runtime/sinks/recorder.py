"""A flight recorder: the frames of a run bit for bit, and what became of each, so that the run can be had again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from edgeseg.errors import OutputError
from edgeseg.packages import missing_package
from edgeseg.runtime.recording import HEAD, LINES, Head, mask_digest, segment_name
from edgeseg.runtime.sinks.base import cannot_write, check_folder, write_aside
from edgeseg.runtime.sinks.timeline import Timeline
from edgeseg.runtime.stats import COUNTS
from edgeseg.types import Frame, Image, Result

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

WHAT = "the recording"
TICKS = 1000  # a second; Matroska counts no finer
DEFAULT_FPS = 30.0
# A cluster a frame, written at once: a run that is killed loses its last frame at most.
MUXING = {"flush_packets": "1", "cluster_time_limit": "0"}


class Recorder:
    """Writes a recording; see `edgeseg.runtime.recording`.

    Frames that were dropped leave their line, not their picture: no mask depends on it. What was written stays where a
    run is killed. It must see every result, so it is waited for: of a camera, frames are dropped before the model then.
    Where it is cut off (`cut_off`), the recording ends there and says so, since a replay cannot pass over a hole.

    Args:
        folder: where to; made if missing. One that holds a recording is never written to.
        head: what is the same for all frames.

    Raises:
        OutputError: the folder cannot be written or holds a recording; also from `write` and `close`.
        BackendError: PyAV is not installed.
    """

    def __init__(self, folder: str | Path, head: Head) -> None:
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise missing_package(error) or error from None
        self._folder, self._head = Path(folder), head
        if (self._folder / HEAD).exists():
            raise OutputError("the folder holds a recording already", folder, "Name another, or delete it")
        if not self._folder.exists():
            check_folder(self._folder.parent, WHAT)
        try:
            self._folder.mkdir(exist_ok=True)
            write_aside(self._folder / HEAD, head.to_bytes())
            self._lines: IO[str] | None = (self._folder / LINES).open("w", encoding="utf-8")
        except OSError as error:
            raise cannot_write(WHAT, folder, error) from None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._segments = 0
        self._size = (0, 0)
        # Lines, not frames: a picture that nobody wants must not be kept alive by its drop.
        self._dropped: deque[dict[str, Any]] = deque()
        self._incomplete: str | None = None
        self._ended = False

    def dropped(self, frame: Frame, why: str) -> None:
        """Note that a frame was not taken. From any thread; costs next to nothing."""
        self._note(frame, "dropped", why)

    def skipped(self, frame: Frame, why: str) -> None:
        """Note that a frame was not inferred on purpose; as `dropped`."""
        self._note(frame, "skipped", why)

    def cut_off(self, why: str) -> None:
        """No more results come: the run goes on without the recording, which ends here. From any thread."""
        self._incomplete = why
        self._dropped.clear()

    def _note(self, frame: Frame, decision: str, why: str) -> None:
        if self._incomplete is None:
            self._dropped.append({**_stamps(frame), "decision": decision, "why": why})

    def write(self, result: Result) -> None:
        """Keep a frame, and the hash of its mask."""
        if self._lines is None:
            raise OutputError(f"cannot write {WHAT}", f"{self._folder} is closed", "Open the sink anew")
        import av

        frame = result.frame
        try:
            if frame.image.shape[:2] != self._size:
                self._close_segment()
                self._open_segment(frame)
            self._encode(frame)
            line = {**_stamps(frame), "decision": "taken", "segment": self._segments - 1, "mask": mask_digest(result)}
            if result.model:
                line["model"] = result.model
            self._write_lines(self._lines, line)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(WHAT, self._folder, error) from None

    def close(self) -> None:
        """End the files. Any number of times."""
        import av

        lines, self._lines = self._lines, None
        if lines is None:
            return
        try:
            with lines:
                self._close_segment()
                self._write_lines(lines)
        except (OSError, av.FFmpegError) as error:
            raise cannot_write(WHAT, self._folder, error) from None
        finally:
            self._ended = True

    def finish(self, counts: Mapping[str, Any]) -> None:
        """After the end of the run: what was dropped at its very end, and its counts.

        Of a recording that was cut off the counts would not be true: its head gets the reason instead. Where its thread
        still hangs in the disk, nothing is touched, and the recording stays as a killed run leaves it.
        """
        if not self._ended:
            return
        try:
            if self._incomplete is None:
                with (self._folder / LINES).open("a", encoding="utf-8") as lines:
                    self._write_lines(lines)
                head = dataclasses.replace(self._head, counts={name: counts[name] for name in COUNTS})
            else:
                head = dataclasses.replace(self._head, incomplete=self._incomplete)
            write_aside(self._folder / HEAD, head.to_bytes())
        except OSError as error:
            raise cannot_write(WHAT, self._folder, error) from None

    def _write_lines(self, lines: IO[str], taken: Mapping[str, Any] | None = None) -> None:
        with contextlib.suppress(IndexError):
            while True:
                lines.write(json.dumps(self._dropped.popleft()) + "\n")
        if taken is not None:
            lines.write(json.dumps(taken) + "\n")
        lines.flush()

    def _open_segment(self, frame: Frame) -> None:
        import av

        height, width = self._size = frame.image.shape[:2]
        path = self._folder / segment_name(self._segments)
        self._container = av.open(f"file:{path}", "w", format="matroska", options=MUXING)
        # Level 3 in slices: several threads on one picture, no delay, and a checksum of each slice. A single row or
        # column cannot be sliced.
        options = {"level": "3", "slices": "4", "slicecrc": "1"} if min(height, width) > 1 else {"level": "1"}
        rate = Fraction(self._head.fps or DEFAULT_FPS).limit_denominator(1001)
        self._stream = self._container.add_stream("ffv1", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "bgra"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.thread_type = "SLICE"
        self._segments += 1
        # For players alone; a replay reads the stamps in the lines.
        self._timeline = Timeline(TICKS, self._head.fps or DEFAULT_FPS, self._head.live)

    def _encode(self, frame: Frame) -> None:
        import av

        assert self._container is not None
        assert self._stream is not None
        picture = av.VideoFrame.from_ndarray(_with_alpha(frame.image), format="bgra")
        picture.pts, picture.time_base = self._timeline.tick(frame), Fraction(1, TICKS)
        self._container.mux(self._stream.encode(picture))

    def _close_segment(self) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        assert self._stream is not None
        try:
            container.mux(self._stream.encode())
        finally:
            container.close()


def _stamps(frame: Frame) -> dict[str, Any]:
    return {
        "frame": frame.number,
        "captured_ns": frame.captured_ns,
        "pts_s": frame.pts_s,
        "name": frame.name,
        "session": frame.session,
    }


def _with_alpha(image: Image) -> Image:
    """FFV1 keeps RGB in pictures of 4 bytes a pixel; the fourth costs nothing, as it never changes."""
    import cv2

    return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
