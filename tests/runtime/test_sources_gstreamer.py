"""GStreamer's pipelines as sources, run for real; a Jetson's own elements are stood in for, see jetson_stand_ins.py."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clip_maker import noise
from rtsp_server import RtspServer, why_absent

from edgeseg.errors import BackendError, InputError, UsageError
from edgeseg.runtime.sources import StreamOptions, gstreamer, gstreamer_binding, network, open_source
from edgeseg.runtime.sources.gstreamer import PipelineConnection
from edgeseg.runtime.sources.gstreamer_text import csi_pipeline, quoted, stream_pipeline, without_secrets
from edgeseg.runtime.sources.resilient import Patience, Resilient

# Generous: the first picture waits for GStreamer's list of plugins, on a machine that does other things as well.
QUICK = StreamOptions(patience=Patience(open_timeout_s=40.0, stall_timeout_s=20.0, retry_s=0.2))
LIVE = "gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1"


@pytest.fixture
def binding() -> Any:
    """GStreamer, loaded. CI fails without it on the Python that Debian's binding is for."""
    why = gstreamer_binding.why_no_gstreamer()
    if why is not None:
        if os.environ.get("CI") == "true" and "python3-gi here is for Python" not in why:
            pytest.fail(why)
        pytest.skip(why)
    return gstreamer_binding.gstreamer()


@pytest.mark.usefixtures("binding")
def test_a_live_pipeline_gives_fresh_frames_of_any_width() -> None:
    # 321 pixels: rows of BGR are padded to four bytes.
    spec = "gst:videotestsrc is-live=true pattern=smpte ! video/x-raw,format=BGR,width=321,height=60,framerate=25/1"
    with open_source(spec, max_frames=8, options=QUICK) as source:
        assert (type(source), source.live, source.fps, source.name) == (Resilient, True, 25.0, spec)
        frames = iter(source)
        first = next(frames)
        time.sleep(1.5)
        late = list(frames)
    assert first.image.shape == (60, 321, 3) and first.image.flags.c_contiguous
    bars = first.image[10, [20, 65, 110, 160, 205, 250, 300]]
    white, yellow, cyan, green, magenta, red, blue = (bars > 128).tolist()
    assert (white, yellow, cyan, green) == ([1] * 3, [0, 1, 1], [1, 1, 0], [0, 1, 0])
    assert (magenta, red, blue) == ([1, 0, 1], [0, 0, 1], [1, 0, 0])
    own_s = [frame.pts_s or 0.0 for frame in late]
    assert own_s == sorted(set(own_s)) and [frame.number for frame in late] == list(range(1, 8))
    # Only what the hand-over to this thread held is old: two pictures. The pipeline itself kept the newest.
    assert own_s[2] - own_s[1] > 1.0
    taken_s = np.array([frame.captured_ns for frame in late]) / 1e9
    np.testing.assert_allclose(np.diff(taken_s)[2:], np.diff(own_s)[2:], atol=0.02)
    assert taken_s[-1] <= time.monotonic()


@pytest.mark.usefixtures("binding")
def test_a_stamp_is_the_buffer_s_own_moment_however_long_its_picture_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = PipelineConnection._picture

    def slow(*args: Any) -> Any:
        time.sleep(0.5)
        return converted(*args)

    monkeypatch.setattr(PipelineConnection, "_picture", slow)
    connection = PipelineConnection(f"{LIVE.removeprefix('gst:')},format=BGR ! appsink", QUICK.patience)
    with contextlib.closing(connection):
        shots = [connection.read() for _ in range(3)]
        base_ns = connection._pipeline.get_base_time()
    for shot in shots:
        assert shot is not None and shot.pts_s is not None
        # GStreamer's clock is the monotonic one, unless an element brings its own.
        assert shot.captured_ns == pytest.approx(base_ns + shot.pts_s * 1e9, abs=0.1e9)


@pytest.mark.usefixtures("binding")
def test_a_pipeline_that_is_not_live_waits_and_gives_every_frame(tmp_path: Path) -> None:
    path = tmp_path / 'a "quoted" \\ clip.avi'
    pictures = [np.kron(small, np.ones((16, 16, 1), np.uint8)) for small in noise(40, 6, 4)]
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=10, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj422p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with open_source(f"gst:filesrc location={quoted(str(path))} ! decodebin", options=QUICK) as source:
        assert (source.live, source.fps) == (False, 10.0)
        time.sleep(0.5)
        frames = list(source)
    assert source.broken is None and len(frames) == 40
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 10 for k in range(40)])
    with open_source(path) as ours:
        for frame, other in zip(frames, ours, strict=True):
            assert np.abs(frame.image.astype(int) - other.image).mean() < 3


@pytest.mark.usefixtures("binding")
@pytest.mark.parametrize("form", ["BGR", "RGB", "BGRx", "RGBA", "GRAY8", "YUY2", "UYVY"])
def test_a_pipeline_with_an_appsink_of_its_own(form: str) -> None:
    color = "videotestsrc num-buffers=1 pattern=solid-color foreground-color=0xff2040c0"
    with open_source(f"gst:{color} ! video/x-raw,format={form},width=66,height=8 ! appsink", options=QUICK) as source:
        (frame,) = source
    expected = [0x4A] * 3 if form == "GRAY8" else [0xC0, 0x40, 0x20]
    assert frame.image.shape == (8, 66, 3)
    np.testing.assert_allclose(frame.image.reshape(-1, 3).mean(axis=0), expected, atol=12 if form == "GRAY8" else 5)


@pytest.mark.usefixtures("binding")
def test_another_size_in_the_middle_is_followed() -> None:
    part = "videotestsrc num-buffers=4 ! video/x-raw,format=BGR,width={},height={} ! c."
    spec = f"gst:concat name=c ! appsink {part.format(64, 48)} {part.format(40, 80)}"
    with open_source(spec, options=QUICK) as source:
        assert [frame.image.shape[:2] for frame in source] == [(48, 64)] * 4 + [(80, 40)] * 4


@pytest.mark.usefixtures("binding")
def test_a_live_pipeline_that_ends_or_fails_is_started_again(capfd: pytest.CaptureFixture[str]) -> None:
    for end, why in (("identity eos-after=3", "it ended"), ("identity error-after=4", "the pipeline failed")):
        with open_source(f"{LIVE} ! {end}", max_frames=5, options=QUICK) as source:
            sessions = [frame.session for frame in source]
        assert sessions[0] == 0 and sessions[-1] >= 1 and sessions == sorted(sessions)
        told = capfd.readouterr().err
        assert f"is lost ({why}" in told and "is back after" in told


@pytest.mark.usefixtures("binding")
def test_a_waiting_pipeline_that_fails_is_broken_off() -> None:
    with open_source("gst:videotestsrc num-buffers=9 ! identity error-after=5", options=QUICK) as source:
        frames = list(source)
    assert 3 <= len(frames) <= 5
    assert source.broken is not None and "the pipeline failed: " in source.broken


@pytest.mark.usefixtures("binding")
def test_closing_ends_a_pipeline_that_waits() -> None:
    source = open_source("gst:videotestsrc num-buffers=100 ! identity sleep-time=100000", options=QUICK)
    threading.Timer(0.3, source.close).start()
    assert len(list(source)) < 100


@pytest.mark.usefixtures("binding")
def test_a_stream_in_a_pipeline_that_stalls_is_noticed() -> None:
    absent = why_absent()
    if absent:
        pytest.skip(absent)
    patience = Patience(open_timeout_s=40, stall_timeout_s=2, retry_s=0.5)
    with RtspServer() as server:
        pipeline = f"gst:rtspsrc location={server.address} latency=0 protocols=tcp ! decodebin"
        with open_source(pipeline, options=StreamOptions(patience=patience)) as source:
            frames = iter(source)
            assert next(frames).session == 0
            server.freeze()
            threading.Timer(3.0, server.thaw).start()
            assert next(frame for frame in frames if frame.session).image.shape == (96, 128, 3)


WRONG = {
    "gst:": (UsageError, "an empty pipeline"),
    "gst:videotestsrc ! ! fakesink": (UsageError, "no GStreamer pipeline: syntax error"),
    "gst:videotestsrc colour=red": (UsageError, 'no property "colour"'),
    "gst:appsink": (UsageError, "to one appsink: 0 of them"),
    "gst:videotestsrc ! appsink videotestsrc ! appsink": (UsageError, "2 of them"),
    "gst:v4l2src device=/dev/video97": (InputError, "does not start: .*/dev/video97.*No such file"),
    "gst:videotestsrc ! video/x-raw,format=v210 ! appsink": (InputError, "are not read: .*v210"),
    "gst:videotestsrc num-buffers=0": (InputError, "gives no picture"),
    "gst:avdec_nothing ! fakesink": (BackendError, "no such element: avdec_nothing. It is in gstreamer1.0-libav"),
    "gst:nothingsrc": (BackendError, "no such element: nothingsrc. Check the name .*plugins-bad"),
    "csi://0": (BackendError, "no such element: nvarguscamerasrc. It is in nvidia-l4t-gstreamer"),
    "csi://front": (UsageError, "bad CSI camera: csi://front. Write csi://0"),
}


@pytest.mark.usefixtures("binding")
@pytest.mark.parametrize("spec", WRONG)
def test_what_cannot_be_read_is_one_line(spec: str) -> None:
    kind, told = WRONG[spec]
    with pytest.raises(kind, match=told) as caught:
        open_source(spec, options=QUICK)
    assert type(caught.value) is kind and "\n" not in str(caught.value)


def test_without_the_binding_debian_s_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "gi"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(gstreamer_binding.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(gstreamer_binding, "DEBIAN_GI", tmp_path)
    monkeypatch.setattr(gstreamer, "gstreamer", gstreamer_binding.gstreamer.__wrapped__)
    for spec in ("gst:videotestsrc", "csi://0"):
        with pytest.raises(BackendError, match="apt-get install python3-gi gir1.2-gst-plugins-base-1.0"):
            open_source(spec)
    (tmp_path / "_gi.cpython-37-x86_64-linux-gnu.so").touch()
    with pytest.raises(BackendError, match="is for Python 3.7, so make the environment with /usr/bin/python3"):
        open_source("csi://0")


def test_what_a_jetson_is_given_to_run() -> None:
    assert csi_pipeline("csi://1/1920x1080@60") == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1 "
        "! nvvidconv ! video/x-raw,format=BGRx ! appsink name=edgeseg"
    )
    assert "width=1280,height=720,framerate=30/1" in csi_pipeline("csi://0")
    assert 'location="rtsp://me:a\\"b@host/x" protocols=udp' in stream_pipeline('rtsp://me:a"b@host/x', "udp")
    assert without_secrets("rtspsrc location=rtsp://me:s@cret@host/a@b ! x") == "rtspsrc location=rtsp://host/a@b ! x"
    shown = without_secrets(r'rtspsrc user-id=me user-pw = "s \" ecret" proxy-pw=secret ! x sensor-id=0 uri=srt://h')
    assert shown == "rtspsrc user-id=... user-pw=... proxy-pw=... ! x sensor-id=0 uri=srt://h"
    assert without_secrets("srtsrc passphrase=secret ! x") == "srtsrc passphrase=... ! x"


def stood_in(words: list[str], stats: Path) -> tuple[dict[str, Any], str]:
    """`edgeseg run` in a process that has a Jetson's elements; its figures, and what it said."""
    program = [sys.executable, str(Path(__file__).with_name("jetson_stand_ins.py")), "run", *words]
    options = ["--stats", str(stats), "--max-frames", "4", "--backend", "onnxruntime", "--open-timeout-s", "60"]
    done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(stats.read_text()), done.stderr


@pytest.mark.usefixtures("binding")
def test_a_csi_camera_with_stand_ins(tmp_path: Path, tiny_model: Path) -> None:
    figures, _ = stood_in(["csi://0/320x240@30", "--model", str(tiny_model)], tmp_path / "stats.json")
    assert figures["frames_in"] == 4 and figures["frame_age"]["samples"] == figures["frames_out"] > 0


@pytest.mark.usefixtures("binding")
def test_a_network_camera_on_a_jetson_goes_through_gstreamer(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = why_absent()
    if absent:
        pytest.skip(absent)
    with RtspServer() as server:
        words = [server.address.replace("//", "//me:secret@"), "--model", str(tiny_model)]
        figures, told = stood_in(words, tmp_path / "stats.json")
        monkeypatch.setattr(network, "jetson_decodes", lambda: True)
        software = StreamOptions(patience=QUICK.patience, decode="software")
        with open_source(server.address, max_frames=1, options=software) as source:
            assert len(list(source)) == 1
    assert figures["frames_in"] == 4
    decoder = figures["source_health"]["decoder"]
    assert re.fullmatch(r"by GStreamer's \w+", decoder)
    assert f"{server.address} is decoded {decoder}\n" in told and "secret" not in told
    assert isinstance(source, Resilient) and source.health.decoder == "in software"
