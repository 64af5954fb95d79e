"""One open page: it gets the newest picture as soon as it has shown the last ones, and is dropped when it stops."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING

from edgeseg.errors import UsageError
from edgeseg.runtime.sinks.web.camera import Camera
from edgeseg.runtime.sinks.web.views import STRENGTH, Renderer, View, read_view

if TYPE_CHECKING:
    from aiohttp.web import WebSocketResponse

# Pictures on their way at a time. With one, each would cost a whole round trip; more would only grow old in buffers.
IN_FLIGHT = 2
STALL_S = 10.0
# Of each picture: camera, number of the frame, age in milliseconds as it leaves (not a number for files).
HEAD = struct.Struct("<IIf")
POLICY_VIOLATION = 1008


class StalledError(Exception):
    """The viewer has stopped to read."""


class Viewer:
    """Serves one WebSocket.

    It gets text (JSON) and pictures (`HEAD`, then a JPEG), and answers each picture that it has shown with {"seen": 1}.
    What waits for it is never more than the newest figures and the newest picture.

    Args:
        socket: the WebSocket, open.
        cameras: all sources of the run.
        classes: names that may be drawn.
        renderer: makes the pictures.
    """

    def __init__(
        self, socket: WebSocketResponse, cameras: Sequence[Camera], classes: Sequence[str], renderer: Renderer
    ) -> None:
        self.socket = socket
        self.view = View(0, STRENGTH, tuple(classes))
        self._cameras, self._classes, self._renderer = cameras, classes, renderer
        self._text: str | None = None
        self._sent: tuple[View, int] | None = None
        self._in_flight = 0
        self._progress_s = time.monotonic()
        self._awake = asyncio.Event()
        self._awake.set()  # there may be a picture already, and no other to come

    def look(self) -> None:
        """There may be something new to send."""
        self._awake.set()

    def tell(self, text: str) -> None:
        """Send a text, unless a newer one comes before it can be sent."""
        self._text = text
        self._awake.set()

    async def serve(self, hello: str) -> None:
        """Send and receive until the viewer leaves.

        Args:
            hello: the text that comes first.

        Raises:
            StalledError: it did not read, or did not say that it had shown anything, for 10 s.
        """
        tasks = [asyncio.ensure_future(self._send(hello)), asyncio.ensure_future(self._receive())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _send(self, hello: str) -> None:
        try:
            await _soon(self.socket.send_str(hello))
            while True:
                await self._awake.wait()
                self._awake.clear()
                # Figures come every second, so this is looked at without pictures, too.
                if self._in_flight and time.monotonic() - self._progress_s > STALL_S:
                    raise StalledError
                text, self._text = self._text, None
                if text is not None:
                    await _soon(self.socket.send_str(text))
                if self._in_flight < IN_FLIGHT:
                    await self._send_picture()
        except ConnectionError:
            return  # it has left

    async def _send_picture(self) -> None:
        view, newest = self.view, self._cameras[self.view.camera].newest
        if newest is None or self._sent == (view, newest[0]):
            return
        number, result = newest
        self._sent = (view, number)
        jpeg = await self._renderer.picture(view, number, result)
        frame, live = result.frame, self._cameras[view.camera].live
        age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6 if live else float("nan")
        if not self._in_flight:
            self._progress_s = time.monotonic()
        self._in_flight += 1
        await _soon(self.socket.send_bytes(HEAD.pack(view.camera, frame.number & 0xFFFFFFFF, age_ms) + jpeg))

    async def _receive(self) -> None:
        async for message in self.socket:
            try:
                self._take(json.loads(message.data))
            except (TypeError, ValueError, RecursionError, UsageError):
                await self.socket.close(code=POLICY_VIOLATION, message=b"not a message of this page")

    def _take(self, message: object) -> None:
        """Take one message; UsageError for one that is none of ours."""
        if message == {"seen": 1}:
            self._in_flight = max(0, self._in_flight - 1)
            self._progress_s = time.monotonic()
        elif isinstance(message, dict) and set(message) == {"view"}:
            self.view = read_view(message["view"], len(self._cameras), self._classes)
        else:
            raise UsageError("not a message of this page", type(message).__name__, "Send view or seen")
        self._awake.set()


async def _soon(sending: Coroutine[object, object, None]) -> None:
    try:
        await asyncio.wait_for(sending, STALL_S)
    except asyncio.TimeoutError:
        raise StalledError from None
