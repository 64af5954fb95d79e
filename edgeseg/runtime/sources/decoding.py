"""Who decodes a video: the GPU's decoder where there is one, else FFmpeg on the CPU; and what is said about it.

desktop GPU   FFmpeg's own way to it (hwaccel cuda), which PyAV's wheels for x86-64 hold
Jetson        GStreamer: nvv4l2decoder, then nvvidconv; PyAV's wheels for aarch64 have no NVIDIA decoder
elsewhere     FFmpeg in software
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import BackendError, UsageError, nearest
from edgeseg.runtime import notices
from edgeseg.runtime.sources.gstreamer_binding import gstreamer, why_no_gstreamer
from edgeseg.runtime.sources.resilient import Health

if TYPE_CHECKING:
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.video.frame import VideoFrame

AUTO, HARDWARE, SOFTWARE = DECODERS = ("auto", "hardware", "software")
_TWO_PLANES = ("nv", "p0", "p2")  # beginnings of FFmpeg's names for them
JETSON_ELEMENTS = ("nvv4l2decoder", "nvvidconv")
# Written by Jetson Linux up to 36; 38 and later have a device tree that says tegra.
_TEGRA_RELEASE = Path("/etc/nv_tegra_release")
_COMPATIBLE = Path("/proc/device-tree/compatible")


def check_decoder(name: str) -> None:
    """Raise UsageError, naming the nearest, for a word that is none of `DECODERS`."""
    if name not in DECODERS:
        raise UsageError("unknown decoder", name, nearest(name, DECODERS))


def on_jetson() -> bool:
    """True on a Jetson."""
    if platform.machine() != "aarch64":
        return False
    return _TEGRA_RELEASE.exists() or (_COMPATIBLE.exists() and b"nvidia,tegra" in _COMPATIBLE.read_bytes())


def jetson_decodes() -> bool:
    """True where GStreamer has a Jetson's decoder and converter."""
    return on_jetson() and why_no_gstreamer() is None and gstreamer().has(*JETSON_ELEMENTS)


def ffmpeg_device() -> str | None:
    """FFmpeg's name of the GPU that can decode here ("cuda"); None without one."""
    from av.codec.hwaccel import hwdevices_available

    from edgeseg.runtime.backends.gpu import gpu_count

    return "cuda" if "cuda" in hwdevices_available() and gpu_count() else None


def check_device(decode: str) -> None:
    """Raise BackendError where `decode` is "hardware" and FFmpeg has none here."""
    if decode == HARDWARE and ffmpeg_device() is None:
        raise no_hardware("there is no NVIDIA GPU, or this PyAV has no way to it")


def hardware_decoders() -> dict[str, str]:
    """For `doctor`: each way to decode in hardware, and its state."""
    try:
        ffmpeg = "ready" if ffmpeg_device() else "no GPU, or FFmpeg has no way to it"
    except ImportError as error:
        ffmpeg = str(error)
    if not on_jetson():
        jetson = "this is no Jetson"
    elif (why := why_no_gstreamer()) is not None:
        jetson = why
    else:
        absent = [name for name in JETSON_ELEMENTS if not gstreamer().has(name)]
        jetson = f"GStreamer lacks {', '.join(absent)}: install nvidia-l4t-gstreamer" if absent else "ready"
    return {"FFmpeg (cuda)": ffmpeg, "Jetson (nvv4l2decoder)": jetson}


@dataclass(frozen=True, slots=True)
class Decoder:
    """Who was asked to decode an open video.

    Attributes:
        asked: one of `DECODERS`.
        device: FFmpeg's name of the device that was given to it; None where there is none, or it was not wanted.
        why: why there is none though one is here; empty otherwise.
    """

    asked: str
    device: str | None = None
    why: str = ""

    def of(self, codec: CodecContext, picture: VideoFrame) -> str:
        """Who really decoded a video's first picture: "on the GPU (cuda)", "in software" or "in software (reason)".

        FFmpeg goes over to software by itself where the device does not take a video. It shows in the picture: what
        NVIDIA's decoder gives has brightness in one plane and both colours in another, software's have three.

        Raises:
            BackendError: hardware was asked for.
        """
        if self.device is not None and codec.is_hwaccel and picture.format.name.startswith(_TWO_PLANES):
            return f"on the GPU ({self.device})"
        why = f"{self.device} does not take this {codec.name}" if self.device else self.why
        if self.asked == HARDWARE:
            raise no_hardware(why)
        return f"in software ({why})" if why else "in software"


def open_container(address: str, decode: str, **words: Any) -> tuple[InputContainer, Decoder]:
    """`av.open`, with a hardware decoder where `decode` allows it and a GPU is here.

    Args:
        address: what to open.
        decode: one of `DECODERS`.
        words: options of `av.open`.

    Raises:
        BackendError: `decode` is "hardware", and there is none.
        av.FFmpegError and what else `av.open` raises.
    """
    import av
    from av.codec.hwaccel import HWAccel

    device, why = None if decode == SOFTWARE else ffmpeg_device(), ""
    check_device(decode)
    if device is not None:
        try:
            container = av.open(address, hwaccel=HWAccel(device, allow_software_fallback=True), **words)
            return container, Decoder(decode, device)
        except (av.FFmpegError, RuntimeError) as error:
            # Of the device or of the address; the latter comes again below.
            why = f"{device}: {getattr(error, 'strerror', None) or error}"
    return av.open(address, **words), Decoder(decode, None, why)


def decoded_by(name: str, health: Health) -> Callable[[str], None]:
    """A function that is told who decodes the source `name`: it is said and kept, unless it was said before."""

    def told(who: str) -> None:
        if who and who != health.decoder:
            health.decoder = who
            notices.info(f"{name} is decoded {who}")

    return told


def no_hardware(why: str) -> BackendError:
    """The error for a hardware decoder that was asked for and cannot be had."""
    return BackendError("no hardware decoder", why, "Leave --decode at auto, or see edgeseg doctor")
