"""The server of the page: a thread with its event loop, a socket bound before anything else starts, six fixed paths."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import OutputError
from edgeseg.packages import missing_package
from edgeseg.runtime import notices
from edgeseg.runtime.sinks.web.access import HEADERS, Access, check_token, new_token
from edgeseg.runtime.sinks.web.address import DEFAULT, is_loopback, listen, public_host
from edgeseg.runtime.sinks.web.camera import Camera
from edgeseg.runtime.sinks.web.figures import EVERY_S
from edgeseg.runtime.sinks.web.viewer import StalledError, Viewer
from edgeseg.runtime.sinks.web.views import Renderer
from edgeseg.runtime.stats import Stats
from edgeseg.types import ClassInfo

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_VIEWERS = 16
STARTING_S = CLOSING_S = 10.0
GOING_AWAY, TRY_AGAIN_LATER = 1001, 1013


class WebPage:
    """Serves the page. The socket is bound at once; `start` serves, when all cameras are known.

    Args:
        address: host and port; port 0 is any free one.
        token: what viewers have to show; where it is None one is made up, unless only this machine can reach the page.

    Attributes:
        url: what to open, with a token that was made up, and without one that was given.
        viewers: who is looking now.

    Raises:
        OutputError: nothing can listen at the address.
        UsageError: a token that is too short.
        BackendError: aiohttp is not installed.
    """

    def __init__(self, address: tuple[str, int] = DEFAULT, token: str | None = None) -> None:
        try:
            # Missing, it is missed now and not in the thread.
            import aiohttp.web  # noqa: F401
        except ImportError as error:
            raise missing_package(error) or error from None
        given = check_token(token) if token is not None else None
        self._socket = listen(*address)
        bound, port = self._socket.getsockname()[:2]
        made = new_token() if given is None and not is_loopback(bound) else None
        self.url = f"http://{public_host(address[0], bound)}:{port}/" + (f"?token={made}" if made else "")
        self._access = Access(given or made, address[0], port)
        self._cameras: list[Camera] = []
        self.viewers: set[Viewer] = set()
        self._classes: Sequence[ClassInfo] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up, self._down = threading.Event(), asyncio.Event()
        self._error: BaseException | None = None

    def camera(self, name: str, stats: Stats, live: bool, fps: float | None = None, paced: bool = False) -> Camera:
        """The sink of one more source; see `Camera`. Before `start`."""
        self._cameras.append(Camera(name, stats, live, fps, paced, self._told))
        return self._cameras[-1]

    def start(self, classes: Sequence[ClassInfo]) -> None:
        """Serve from now on. `classes` are those that can be drawn. Raises what keeps the server from starting."""
        self._classes = classes
        self._thread = threading.Thread(target=self._run, name="edgeseg-web", daemon=True)
        self._thread.start()
        self._up.wait(STARTING_S)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Say goodbye to the viewers and free the address; any number of times."""
        if self._loop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._loop.call_soon_threadsafe(self._down.set)
            self._thread.join(CLOSING_S)
        self._socket.close()

    def __enter__(self) -> WebPage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self, camera: Camera) -> None:
        """A camera has a new result; by the thread that wrote it."""
        if self._error is not None:
            raise OutputError("the web page broke down", self._error, "Start the run again")
        if self._loop is not None and self.viewers:
            with contextlib.suppress(RuntimeError):  # the page was closed first
                self._loop.call_soon_threadsafe(self._show, self._cameras.index(camera))

    def _show(self, camera: int) -> None:
        for viewer in self.viewers:
            if viewer.view.camera == camera:
                viewer.look()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            notices.warn(f"the web page broke down: {error}")
        finally:
            self._up.set()

    async def _serve(self) -> None:
        from aiohttp import web

        renderer = Renderer()
        runner = web.AppRunner(
            self._application(renderer), access_log=None, logger=_logger(), keepalive_timeout=30, shutdown_timeout=1
        )
        try:
            await runner.setup()
            await web.SockSite(runner, self._socket).start()
            self._loop = asyncio.get_running_loop()
            self._up.set()
            while not self._down.is_set():
                self._sample(renderer)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._down.wait(), EVERY_S)
            goodbyes = [viewer.socket.close(code=GOING_AWAY, message=b"the run has ended") for viewer in self.viewers]
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.gather(*goodbyes, return_exceptions=True), CLOSING_S / 2)
        finally:
            await runner.cleanup()
            renderer.close()

    def _sample(self, renderer: Renderer) -> None:
        rows = [{**camera.figures.sample(), "ended": camera.ended} for camera in self._cameras]
        text = json.dumps({"figures": {"viewers": len(self.viewers), "cameras": rows}}, allow_nan=False)
        for viewer in self.viewers:
            viewer.tell(text)
        renderer.keep_only({viewer.view for viewer in self.viewers})

    def _application(self, renderer: Renderer) -> web.Application:
        from aiohttp import web

        async def live(request: web.Request) -> web.StreamResponse:
            return await self._live(request, renderer)

        application = web.Application(middlewares=[_guard(self._access)])
        for path in PAGE.iterdir():
            if path.suffix != ".html":
                application.router.add_get(f"/{path.name}", _file(path))
        application.router.add_get("/", _file(PAGE / "index.html"))
        application.router.add_get("/live", live)

        async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
            response.headers.update(HEADERS)

        application.on_response_prepare.append(add_headers)
        return application

    async def _live(self, request: web.Request, renderer: Renderer) -> web.StreamResponse:
        """One viewer, from its handshake until it leaves."""
        from aiohttp import web

        # Pictures do not get smaller, and a viewer's messages are short.
        socket = web.WebSocketResponse(compress=False, max_msg_size=4096, heartbeat=20)
        await socket.prepare(request)
        if len(self.viewers) >= MOST_VIEWERS:
            reason = f"there are {MOST_VIEWERS} viewers already"
            await socket.close(code=TRY_AGAIN_LATER, message=reason.encode())
            return socket
        viewer = Viewer(socket, self._cameras, [info.name for info in self._classes], renderer)
        self.viewers.add(viewer)
        try:
            await viewer.serve(self._hello())
        except StalledError:
            notices.info(f"a viewer of the web page at {request.remote} stopped reading and was dropped")
            # Not closed politely: what waits in its buffers would be waited for.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.viewers.discard(viewer)
        return socket

    def _hello(self) -> str:
        hello = {
            "cameras": [{"name": camera.name, "live": camera.live} for camera in self._cameras],
            "classes": [
                {"name": info.name, "color": "#{:02x}{:02x}{:02x}".format(*reversed(info.color))}
                for info in self._classes
            ],
            "history": [list(camera.figures.history) for camera in self._cameras],
        }
        return json.dumps({"hello": hello}, allow_nan=False)


def _guard(access: Access) -> Middleware:
    """What every request passes, for whatever path."""
    from aiohttp import web

    ask = (PAGE / "token.html").read_bytes()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = access.misdirected(request)
        if reason is not None:
            return web.Response(status=403, text=f"{reason}\n")
        if not access.is_let_in(request):
            challenge = {"WWW-Authenticate": "Bearer"}
            return web.Response(status=401, body=ask, content_type="text/html", charset="utf-8", headers=challenge)
        if request.path == "/" and "token" in request.query:
            response = web.Response(status=302, headers={"Location": "/"})
            access.remember(response)
            return response
        return await handler(request)

    return guard


def _file(path: Path) -> Handler:
    """Serves one file, read now: no request ever names a path to open."""
    from aiohttp import web

    body, kind = path.read_bytes(), TYPES[path.suffix]

    async def give(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return give


def _logger() -> logging.Logger:
    """Where aiohttp reports what breaks in here; that somebody sends what is no HTTP is no news."""
    from aiohttp.http import HttpProcessingError

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    logger = logging.Logger("edgeseg.web", logging.WARNING)
    logger.addFilter(is_news)
    return logger
