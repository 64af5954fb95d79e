"""A Jetson's GStreamer elements, stood in for where there is none: `python jetson_stand_ins.py WORDS OF edgeseg`.

`nvarguscamerasrc` is a moving ball in caps of NVIDIA's memory, `nvvidconv` takes such caps off and converts on the CPU,
`nvv4l2decoder` is a decoder's name only: whichever decoder this machine has does the work. What they show: that the
pipelines are read, linked, negotiated and run as written. What they don't: anything of NVIDIA's own elements.
"""

from __future__ import annotations

import sys
from typing import Any

from edgeseg.cli.main import main
from edgeseg.runtime.sources import decoding, network
from edgeseg.runtime.sources.gstreamer_binding import gstreamer


def register() -> None:
    """Make the three elements known to this process."""
    gst = gstreamer().Gst
    from gi.repository import GObject

    def ends(*names: str) -> tuple[Any, ...]:
        kinds = {"src": gst.PadDirection.SRC, "sink": gst.PadDirection.SINK}
        return tuple(
            gst.PadTemplate.new(name, kinds[name], gst.PadPresence.ALWAYS, gst.Caps.new_any()) for name in names
        )

    class Camera(gst.Bin):  # type: ignore[misc,name-defined]
        __gtype_name__ = "EdgesegCameraStandIn"
        __gstmetadata__ = ("camera", "Source/Video", "a stand-in", "edgeseg")
        __gsttemplates__ = ends("src")
        sensor_id = GObject.Property(type=int, default=0, nick="sensor-id")

        def __init__(self) -> None:
            super().__init__()
            ball = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=NV12,width=320,height=240"
            front = gst.parse_bin_from_description(
                f"{ball},framerate=30/1 ! appsink name=in sync=false async=false", False
            )
            back = gst.parse_bin_from_description("appsrc name=out is-live=true format=time", True)
            caps = "video/x-raw(memory:NVMM),format=NV12,width=320,height=240,framerate=30/1"
            back.get_by_name("out").set_property("caps", gst.Caps.from_string(caps))
            join(self, front, back)
            self.add_pad(gst.GhostPad.new("src", back.get_static_pad("src")))

    class Converter(gst.Bin):  # type: ignore[misc,name-defined]
        __gtype_name__ = "EdgesegConverterStandIn"
        __gstmetadata__ = ("converter", "Filter/Converter/Video", "a stand-in", "edgeseg")
        __gsttemplates__ = ends("src", "sink")

        def __init__(self) -> None:
            super().__init__()
            front = gst.parse_bin_from_description("appsink name=in sync=false async=false", True)
            back = gst.parse_bin_from_description("appsrc name=out is-live=true format=time ! videoconvert", True)
            join(self, front, back)
            for name, part in (("sink", front), ("src", back)):
                self.add_pad(gst.GhostPad.new(name, part.get_static_pad(name)))

    class Decoder(gst.Bin):  # type: ignore[misc,name-defined]
        __gtype_name__ = "EdgesegDecoderStandIn"
        __gstmetadata__ = ("decoder", "Codec/Decoder/Video", "a stand-in", "edgeseg")
        __gsttemplates__ = ends("src", "sink")

    def join(whole: Any, front: Any, back: Any) -> None:
        """Hand each buffer of the front to the back, whose caps follow where they are not set."""
        source, keeps = back.get_by_name("out"), back.get_by_name("out").get_property("caps") is not None

        def hand_on(sink: Any) -> Any:
            sample = sink.emit("pull-sample")
            if not keeps:
                text = sample.get_caps().to_string().replace("(memory:NVMM)", "")
                source.set_property("caps", gst.Caps.from_string(text))
            return source.emit("push-buffer", sample.get_buffer().copy())

        sink = front.get_by_name("in")
        sink.set_property("emit-signals", True)
        sink.connect("new-sample", hand_on)
        sink.connect("eos", lambda _: source.emit("end-of-stream"))
        whole.add(front)
        whole.add(back)

    for name, kind in (("nvarguscamerasrc", Camera), ("nvvidconv", Converter), ("nvv4l2decoder", Decoder)):
        assert gst.Element.register(None, name, gst.Rank.NONE, kind)


if __name__ == "__main__":
    register()
    decoding.on_jetson = lambda: True
    assert decoding.jetson_decodes() and network.jetson_decodes is decoding.jetson_decodes
    sys.exit(main(sys.argv[1:]))
