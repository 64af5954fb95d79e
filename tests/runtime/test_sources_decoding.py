"""Who decodes: hardware is tried where it seems to be there, software takes over, and both are said.

No machine here has a GPU: that one decodes is not tested, only that it is asked and what follows when it refuses.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clip_maker import make_clip, number_of, numbered

from edgeseg.cli.main import main
from edgeseg.errors import BackendError, UsageError
from edgeseg.runtime.sources import StreamOptions, decoding, open_source
from edgeseg.runtime.sources.decoding import Decoder, hardware_decoders, open_container
from edgeseg.runtime.sources.resilient import Health


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", [numbered(k) for k in range(5)])


def test_a_gpu_that_refuses_leaves_it_to_software(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg is really given the device, which it cannot open here."""
    if decoding.ffmpeg_device() is not None:
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(decoding, "ffmpeg_device", lambda: "cuda")
    container, decoder = open_container(str(clip), "auto")
    with container:
        (stream,) = container.streams.video
        pictures = list(container.decode(stream))
        assert decoder.of(stream.codec_context, pictures[0]).startswith("in software (cuda: ")
    assert [number_of(picture.to_ndarray(format="bgr24")) for picture in pictures] == list(range(5))
    with pytest.raises(BackendError, match="no hardware decoder: cuda: "):
        open_source(clip, options=StreamOptions(decode="hardware"))


def test_who_decoded_is_seen_in_the_picture() -> None:
    def who(name: str, taken: bool, asked: str = "auto") -> str:
        codec: Any = SimpleNamespace(name="h264", is_hwaccel=taken)
        return Decoder(asked, "cuda").of(codec, SimpleNamespace(format=SimpleNamespace(name=name)))  # type: ignore[arg-type]

    assert who("nv12", True) == who("p010le", True, "hardware") == "on the GPU (cuda)"
    assert who("yuv420p", True) == who("yuv420p", False) == "in software (cuda does not take this h264)"
    with pytest.raises(BackendError, match="cuda does not take this h264"):
        who("yuv422p", True, "hardware")


def test_without_a_gpu(clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(decoding, "ffmpeg_device", lambda: None)
    with open_source(clip, options=StreamOptions(decode="auto")) as source:
        assert len(list(source)) == 5
    assert capsys.readouterr().err == ""
    with pytest.raises(BackendError, match="no hardware decoder"):
        open_source("rtsp://127.0.0.1:9/x", options=StreamOptions(decode="hardware"))
    assert main(["run", str(clip), "--decode", "hardware"]) == 4
    told = capsys.readouterr().err
    assert told == (
        "error: no hardware decoder: there is no NVIDIA GPU, or this PyAV has no way to it. "
        "Leave --decode at auto, or see edgeseg doctor.\n"
    )


def test_who_decodes_is_said_once_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    health = Health()
    told = decoding.decoded_by("camera", health)
    for who in ("in software", "in software", "", "on the GPU (cuda)"):
        told(who)
    assert capsys.readouterr().err == "camera is decoded in software\ncamera is decoded on the GPU (cuda)\n"
    assert health.decoder == "on the GPU (cuda)"


def test_words_and_what_doctor_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Did you mean 'hardware'"):
        StreamOptions(decode="hardwar")
    assert hardware_decoders()["Jetson (nvv4l2decoder)"] == "this is no Jetson"
    monkeypatch.setattr(decoding, "on_jetson", lambda: True)
    monkeypatch.setattr(decoding, "why_no_gstreamer", lambda: None)
    binding = SimpleNamespace(has=lambda *names: names == ("nvvidconv",))
    monkeypatch.setattr(decoding, "gstreamer", lambda: binding)
    assert not decoding.jetson_decodes()
    state = hardware_decoders()["Jetson (nvv4l2decoder)"]
    assert state == "GStreamer lacks nvv4l2decoder: install nvidia-l4t-gstreamer"


def test_a_jetson_is_known_by_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decoding, "_TEGRA_RELEASE", tmp_path / "absent")
    monkeypatch.setattr(decoding, "_COMPATIBLE", tmp_path / "compatible")
    (tmp_path / "compatible").write_bytes(b"nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0")
    for machine, expected in (("x86_64", False), ("aarch64", True)):
        monkeypatch.setattr(decoding.platform, "machine", lambda machine=machine: machine)
        assert decoding.on_jetson() is expected
    (tmp_path / "compatible").write_bytes(b"raspberrypi,4\0")
    assert not decoding.on_jetson()
