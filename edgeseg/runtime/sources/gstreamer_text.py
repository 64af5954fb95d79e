"""The texts of GStreamer pipelines, in gst-launch's language: a Jetson's own, and what is added to a user's."""

from __future__ import annotations

import re

from edgeseg.errors import UsageError

CSI = re.compile(r"csi://(\d{1,2})(?:/(\d{1,5})x(\d{1,5})(?:@(\d{1,3}))?)?")
# What the sensors of NVIDIA's camera boards all have, as a size and rate.
CSI_SIZE, CSI_FPS = (1280, 720), 30
SINK = "appsink name=edgeseg"
# Properties of rtspsrc, souphttpsrc, srtsrc and their like.
_SECRET = re.compile(r'(?<![\w-])((?:user|proxy)-(?:id|pw)|username|password|passphrase)\s*=\s*("(?:\\.|[^"\\])*"|\S+)')
TO_BGR = "videoconvert ! video/x-raw,format=(string){BGR,BGRx}"


def csi_pipeline(spec: str) -> str:
    """The pipeline of a `csi://` source; UsageError where it does not read as one."""
    match = CSI.fullmatch(spec)
    if match is None:
        raise UsageError("bad CSI camera", spec, "Write csi://0, or csi://0/1280x720@30")
    width, height = (int(match[2]), int(match[3])) if match[2] else CSI_SIZE
    size = f"width={width},height={height},framerate={match[4] or CSI_FPS}/1"
    return (
        f"nvarguscamerasrc sensor-id={match[1]} ! video/x-raw(memory:NVMM),{size} "
        f"! nvvidconv ! video/x-raw,format=BGRx ! {SINK}"
    )


def stream_pipeline(address: str, transport: str) -> str:
    """The pipeline that reads an RTSP address on a Jetson: no jitter buffer, and whichever decoder ranks first."""
    return (
        f"rtspsrc location={quoted(address)} protocols={transport} latency=0 drop-on-latency=true "
        f"! application/x-rtp,media=video ! decodebin ! nvvidconv ! video/x-raw,format=BGRx ! {SINK}"
    )


def file_pipeline(path: str) -> str:
    """The pipeline that reads a video file on a Jetson; the file's rotation is carried out by videoflip."""
    return (
        f"filesrc location={quoted(path)} ! decodebin ! nvvidconv ! video/x-raw,format=BGRx "
        f"! videoflip video-direction=auto ! {SINK}"
    )


def continued(written: str) -> str:
    """The user's pipeline with what it lacks behind it."""
    return written if re.search(r"(^|!)\s*appsink\b", written) else f"{written} ! {TO_BGR} ! {SINK}"


def quoted(text: str) -> str:
    """A value as gst-launch's language quotes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_secrets(text: str) -> str:
    """A pipeline as it may be shown: users and passwords are cut out of the addresses and properties in it."""
    return _SECRET.sub(r"\1=...", re.sub(r'://[^/\s"]*@', "://", text))
