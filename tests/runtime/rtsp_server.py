"""A real RTSP server: GStreamer's, run by Debian's own Python, since its bindings come from there.

As a program: `python3 rtsp_server.py PORT WIDTH HEIGHT FPS` serves a moving ball at /live until it is killed. As a
module: `RtspServer` runs that and waits until it listens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PYTHON = "/usr/bin/python3"
PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(Gst.ElementFactory.find(n) for n in ('videotestsrc', 'x264enc', 'rtph264pay'))"
)


def why_absent() -> str | None:
    """Why there is no server here; None where there is one."""
    if not Path(PYTHON).exists():
        return f"{PYTHON} is not there"
    done = subprocess.run([PYTHON, "-c", PROBE], capture_output=True, check=False, env={})
    return None if done.returncode == 0 else "GStreamer's RTSP server is not installed: run make system-packages"


class RtspServer:
    """A running server; `kill`, `start`, `freeze` and `thaw` are what happens to cameras."""

    def __init__(self, width: int = 128, height: int = 96, fps: int = 25) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.address = f"rtsp://127.0.0.1:{self.port}/live"
        self._process: subprocess.Popen[bytes] | None = None
        self.start(width, height, fps)

    def start(self, width: int = 128, height: int = 96, fps: int = 25) -> None:
        words = [PYTHON, str(Path(__file__).resolve()), *map(str, (self.port, width, height, fps))]
        # Its Python must not look into this one's packages.
        self._process = subprocess.Popen(words, env={"HOME": os.environ.get("HOME", "/tmp")})
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise TimeoutError("the RTSP server does not listen")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def serve(port: str, width: str, height: str, fps: str) -> None:
    """The program."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={fps}/1 "
        "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 config-interval=1 )"
    )
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_service(port)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
