"""Pictures from GStreamer: any pipeline in gst-launch's language, and what only GStreamer reads on a Jetson.

    gst:v4l2src ! image/jpeg ! jpegdec           ! videoconvert ! appsink     what stands behind is added
    csi://0  ->  nvarguscamerasrc ! nvvidconv                   ! appsink     a camera on the board's own connector
    rtsp://  ->  rtspsrc ! decodebin ! nvvidconv                ! appsink     on a Jetson, its decoder is in decodebin

The appsink keeps one buffer. Of a live pipeline the newest one, so what is read is never old; another pipeline (a file)
waits until it is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgeseg.errors import EdgeSegError, InputError, UsageError
from edgeseg.runtime.clocks import ahead_ns
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.runtime.sources.decoding import decoded_by
from edgeseg.runtime.sources.gstreamer_binding import Binding, gstreamer
from edgeseg.runtime.sources.gstreamer_text import continued, csi_pipeline, without_secrets
from edgeseg.runtime.sources.pixel_formats import FROM_GST
from edgeseg.runtime.sources.resilient import Health, Patience, Resilient, Shot
from edgeseg.types import Frame, Image

PREFIX = "gst:"
LOOK_NS = 100_000_000
# An older picture than this cannot be: clock and timestamps have nothing to do with each other.
OLDEST_NS = 10_000_000_000


def open_pipeline(spec: str, max_frames: int | None = None, patience: Patience | None = None) -> FrameSource:
    """A pipeline that the user wrote: live where GStreamer calls it so, waiting like a file otherwise.

    Args:
        spec: `gst:` and a pipeline. Without an appsink of its own it is continued with a conversion to BGR and one.
        max_frames: end after so many frames.
        patience: times to wait.

    Raises:
        UsageError: no pipeline.
        BackendError: GStreamer, or an element of the pipeline, is not installed.
        InputError: it cannot be started, or gives no picture.
    """
    written = spec.removeprefix(PREFIX).strip()
    if not written:
        raise UsageError("an empty pipeline", spec, "Write gst:videotestsrc is-live=true, for one")
    return pipeline_source(without_secrets(spec), continued(written), max_frames, patience)


def csi_camera(spec: str, max_frames: int | None = None, patience: Patience | None = None) -> FrameSource:
    """A camera on a Jetson's CSI connector, through NVIDIA's image processor. Errors as `open_pipeline` has them.

    Args:
        spec: `csi://0`, the sensor's number, or `csi://0/1920x1080@30`; 1280x720 at 30 unless given. The sensor's
            mode is chosen by that.
        max_frames: end after so many frames.
        patience: times to wait.
    """
    return pipeline_source(spec, csi_pipeline(spec), max_frames, patience)


def pipeline_source(
    name: str, description: str, max_frames: int | None = None, patience: Patience | None = None
) -> FrameSource:
    """The source of a whole pipeline, appsink included. Errors as `open_pipeline` has them."""
    patience, health = patience or Patience(), Health()

    def connect() -> PipelineConnection:
        return PipelineConnection(description, patience, decoded_by(name, health))

    # Started here the first time: what is misspelt, absent or busy is said at once.
    first = connect()
    if first.live:
        return Resilient(name, connect, patience, max_frames, health, first)
    return PipelineFile(name, first, max_frames)


class PipelineConnection:
    """See `Connection`. A running pipeline; its pictures may change their size at any time.

    `captured_ns` is what the pipeline's clock says of a buffer's own time, brought to ours; without a time of its
    own it is when the picture arrived.

    Args:
        description: of the pipeline, with an appsink.
        patience: the first picture may take `open_timeout_s`, each later one `stall_timeout_s`.
        decoded: told at the first picture who decodes, where somebody does.

    Attributes:
        fps: pictures a second, from the first picture on and as far as the pipeline says.
        live: GStreamer calls it live.
        ended: the last picture was taken.

    Raises:
        UsageError, BackendError: as `Binding.launch`.
        InputError: it cannot be started.
    """

    def __init__(
        self, description: str, patience: Patience, decoded: Callable[[str], object] = lambda who: None
    ) -> None:
        self._binding = gstreamer()
        self._gst, self._patience, self._decoded = self._binding.Gst, patience, decoded
        self.fps: float | None = None
        self.live = self.ended = False
        self._seen = False
        self._failure = ""
        self._pipeline = self._binding.launch(description)
        self._sink = _only_sink(self._pipeline, self._binding)
        try:
            self.live = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> bool:
        """Whether it is live. GStreamer says so when it is paused: a live source has nothing to show then."""
        states, results = self._gst.State, self._gst.StateChangeReturn
        for name, value in (("max-buffers", 1), ("sync", False), ("emit-signals", False), ("drop", False)):
            self._sink.set_property(name, value)
        paused = self._pipeline.set_state(states.PAUSED)
        if paused != results.FAILURE:
            live = bool(paused == results.NO_PREROLL)
            self._sink.set_property("drop", live)
            if self._pipeline.set_state(states.PLAYING) != results.FAILURE:
                return live
        raise InputError("the pipeline does not start", self._complaint() or "GStreamer does not say why", _HINT)

    def read(self) -> Shot | None:
        """See `Connection.read`; InputError where the pipeline fails, or gives nothing for as long as was allowed."""
        limit_s = self._patience.stall_timeout_s if self._seen else self._patience.open_timeout_s
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends:
            shot = self.look()
            if shot is not None or self.ended:
                return shot
        raise InputError("the pipeline gives no picture", f"none for {limit_s:g} s", _HINT)

    def look(self) -> Shot | None:
        """The next picture if it comes within 0.1 s.

        Raises:
            InputError: the pipeline has failed, or its pictures are of a kind that is not read.
        """
        sample = self._sink.try_pull_sample(LOOK_NS)
        arrived_ns = time.monotonic_ns()
        self.ended = sample is None and bool(self._sink.is_eos())
        # Asked each time, as messages that nobody takes pile up; after the end, as a failure is told before its end.
        self._failure = self._failure or self._complaint()
        if sample is None:
            if self._failure:
                raise InputError("the pipeline failed", self._failure, _HINT)
            return None
        if not self._seen:
            self._seen = True
            self._decoded(self.decoders())
        buffer = sample.get_buffer()
        pts_s = None if buffer.pts == self._gst.CLOCK_TIME_NONE else buffer.pts / 1e9
        return Shot(self._picture(sample, buffer), self._taken_ns(sample, buffer, arrived_ns), pts_s)

    def decoders(self) -> str:
        """Who decodes video in the running pipeline: "by GStreamer's jpegdec"; empty where nobody does."""
        found = []
        for element in _each(self._pipeline.iterate_recurse(), self._binding):
            factory = element.get_factory()
            kind = (factory.get_metadata("klass") or "") if factory else ""
            if "Decoder" in kind and ("Video" in kind or "Image" in kind):
                found.append(factory.get_name())
        return f"by GStreamer's {', '.join(found)}" if found else ""

    def close(self) -> None:
        """See `Connection.close`."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _picture(self, sample: Any, buffer: Any) -> Image:
        caps = sample.get_caps()
        info = self._binding.GstVideo.VideoInfo.new_from_caps(caps)
        layout = FROM_GST.get(caps.get_structure(0).get_string("format") or "")
        if layout is None or info is None:
            known = ", ".join(FROM_GST)
            raise InputError("the pipeline's pictures are not read", caps.to_string(), f"Let it end in one of {known}")
        self.fps = info.fps_n / info.fps_d if info.fps_n and info.fps_d else None
        # A buffer that is laid out otherwise than its caps say carries a description of its own.
        meta = self._binding.GstVideo.buffer_get_video_meta(buffer)
        stride, offset = (meta.stride[0], meta.offset[0]) if meta else (info.stride[0], info.offset[0])
        data = buffer.extract_dup(0, buffer.get_size())
        return layout.to_bgr(data, info.width, info.height, stride, offset)

    def _taken_ns(self, sample: Any, buffer: Any, arrived_ns: int) -> int:
        clock = self._pipeline.get_clock()
        if not self.live or clock is None or buffer.pts == self._gst.CLOCK_TIME_NONE:
            return arrived_ns
        running_ns = sample.get_segment().to_running_time(self._gst.Format.TIME, buffer.pts)
        # Not by what the clock says now: the picture was converted since it arrived.
        taken_ns = int(self._pipeline.get_base_time() + running_ns - ahead_ns(clock.get_time))
        return taken_ns if 0 <= arrived_ns - taken_ns < OLDEST_NS else arrived_ns

    def _complaint(self) -> str:
        """The pipeline's first error; empty where it has none."""
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is None:
            return ""
        error, detail = message.parse_error()
        # The detail's last line has the system's reason; those before it are places in GStreamer's source.
        reason = detail.strip().rpartition("\n")[2] if detail and "\n" in detail.strip() else ""
        return without_secrets(f"{error.message} ({reason})" if reason else str(error.message))


class PipelineFile(FrameSource):
    """A pipeline that waits: every picture of it comes, in order. `broken` says where it failed before its end.

    Args:
        name: the source as it may be shown.
        connection: the running pipeline, which is closed with the source.
        max_frames: end after so many frames.

    Raises:
        InputError: it gives no picture.
    """

    def __init__(self, name: str, connection: PipelineConnection, max_frames: int | None = None) -> None:
        try:
            super().__init__(name, max_frames)
            self._connection = connection
            # Read now, so that a pipeline without a single picture fails before a model is loaded.
            self._ahead = connection.read()
        except BaseException:
            connection.close()
            raise
        if self._ahead is None:
            connection.close()
            raise InputError("the pipeline gives no picture", f"{name} (it ended)", _HINT)
        self.fps = connection.fps

    def _read(self) -> Frame | None:
        shot, self._ahead = self._ahead or self._next(), None
        if shot is None:
            return None
        return Frame(shot.image, self._count, shot.captured_ns, shot.pts_s, source=self.name)

    def _next(self) -> Shot | None:
        while not self._stop.is_set():
            try:
                shot = self._connection.look()
            except EdgeSegError as error:
                self.broken = f"{error.cause}: {error.seen}"
                return None
            if shot is not None or self._connection.ended:
                return shot
        return None

    def _release(self) -> None:
        self._connection.close()


def _only_sink(pipeline: Any, binding: Binding) -> Any:
    # Not those within other elements, which are their own business. One word alone is launched as that element.
    alone = not isinstance(pipeline, binding.Gst.Bin)
    elements = [] if alone else _each(pipeline.iterate_elements(), binding)
    sinks = [element for element in elements if isinstance(element, binding.GstApp.AppSink)]
    if len(sinks) != 1:
        raise UsageError("a pipeline gives its pictures to one appsink", f"{len(sinks)} of them", "Leave it out")
    return sinks[0]


def _each(steps: Any, binding: Binding) -> list[Any]:
    """What one of GStreamer's iterators goes through."""
    found = []
    while (step := steps.next())[0] == binding.Gst.IteratorResult.OK:
        found.append(step[1])
    return found


_HINT = "Try it with gst-launch-1.0; pictures in NVIDIA's memory want nvvidconv ! video/x-raw,format=BGRx at the end"
