"""The server of the web page, by viewers that behave, are slow, stop to read or lie."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from web_tools import CLASSES, result_of, running, served

from edgeseg.errors import OutputError, UsageError
from edgeseg.runtime.sinks.guarded import Guarded
from edgeseg.runtime.sinks.web import server, viewer, views
from edgeseg.runtime.sinks.web.camera import Camera
from edgeseg.runtime.sinks.web.figures import Figures
from edgeseg.runtime.sinks.web.server import WebPage
from edgeseg.runtime.sinks.web.viewer import HEAD
from edgeseg.runtime.sinks.web.views import View, draw, read_view
from edgeseg.runtime.stats import Stats

WAIT_S = 60.0
# A viewer on a machine that pauses for a second or two is no viewer that stopped to read.
STALL_S = 4.0
SEEN = {"seen": 1}
ALL = {"camera": 0, "overlay": True, "strength": 45, "classes": ["person", "dog"]}


class Client:
    """One WebSocket; `picture` waits for the next picture, texts go by."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.texts: list[dict[str, Any]] = []

    async def message(self) -> Any:
        return await asyncio.wait_for(self.socket.receive(), WAIT_S)

    async def picture(self) -> tuple[int, np.ndarray[Any, Any]]:
        """The number of the frame, and the picture."""
        while (message := await self.message()).type == aiohttp.WSMsgType.TEXT:
            self.texts.append(json.loads(message.data))
        assert message.type == aiohttp.WSMsgType.BINARY, message
        _, number, _ = HEAD.unpack_from(message.data)
        picture = cv2.imdecode(np.frombuffer(message.data[HEAD.size :], np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return number, picture

    async def text(self, kind: str) -> Any:
        while (message := await self.message()).type != aiohttp.WSMsgType.TEXT or kind not in json.loads(message.data):
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        return json.loads(message.data)[kind]

    async def say(self, body: object) -> None:
        await self.socket.send_str(json.dumps(body))

    async def end(self) -> Any:
        """The code it was closed with."""
        while (await self.message()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            pass
        return self.socket.close_code


@contextlib.asynccontextmanager
async def viewing(page: WebPage) -> AsyncIterator[Client]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{page.url}live", max_msg_size=0) as opened,
    ):
        yield Client(opened)


async def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, View]]:
    """Every picture that is drawn: its frame and its view."""
    seen: list[tuple[int, View]] = []

    def counted(result: Any, view: View) -> bytes:
        seen.append((result.frame_number, view))
        return draw(result, view)

    monkeypatch.setattr(views, "draw", counted)
    return seen


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_view_draws_what_it_says_and_no_more() -> None:
    result = result_of(0)

    def decoded(view: View) -> np.ndarray[Any, Any]:
        return cv2.imdecode(np.frombuffer(draw(result, view), np.uint8), cv2.IMREAD_COLOR)

    bare = decoded(View(0, 0, ()))
    assert bare.shape == result.frame.image.shape and abs(bare.astype(int) - 40).max() < 4
    everything = decoded(View(0, 45, ("person", "dog")))
    assert everything[48, 10, 1] > 80 and everything[48, 120, 2] > 100, "green and red"
    assert abs(everything[48, 64].astype(int) - 40).max() < 12
    only = decoded(View(0, 45, ("dog",)))
    assert abs(only[48, 10].astype(int) - 40).max() < 12 and only[48, 120, 2] > 100
    # Of nothing but outlines the inside is bare.
    assert abs(decoded(View(0, 0, ("person",)))[48, 10].astype(int) - 40).max() < 12
    large = result_of(0, 1500, 2000)
    picture = cv2.imdecode(np.frombuffer(draw(large, View(0, 45, ("dog",))), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (960, 1280, 3)


def test_views_are_read_strictly() -> None:
    names = ("person", "dog")
    assert read_view(ALL, 1, names) == View(0, 45, names)
    assert read_view({**ALL, "classes": ["dog", "person"]}, 1, names) == View(0, 45, names)
    # What looks the same is the same.
    assert read_view({**ALL, "overlay": False}, 1, names) == read_view({**ALL, "classes": []}, 1, names)
    changed: list[dict[str, Any]] = [{"camera": value} for value in (1, -1, True, 0.0, "0", None)]
    changed += [{"strength": value} for value in (101, -1, 4.5, "45", False)]
    changed += [{"classes": value} for value in ("person", ["cat"], [1], [["dog"]], None)]
    changed += [{"overlay": 1}, {"more": 1}]
    for change in changed:
        with pytest.raises(UsageError, match="not a view"):
            read_view({**ALL, **change}, 1, names)
    for other in (None, [], "x", {}):
        with pytest.raises(UsageError):
            read_view(other, 1, names)


def test_without_a_viewer_nothing_is_drawn(drawn: list[tuple[int, View]]) -> None:
    async def test() -> None:
        with served() as (page, (camera,), _):
            for number in range(5):
                camera.write(result_of(number))
            async with viewing(page) as client:
                assert (await client.text("hello"))["cameras"] == [{"name": "camera 0", "live": True}]
                number, _ = await client.picture()
                assert number == 4, "the newest at once, though no other comes"
                await client.say(SEEN)
                camera.write(result_of(5))
                assert (await client.picture())[0] == 5
            await until(lambda: not page.viewers)
            seen = len(drawn)
            for number in range(6, 20):
                camera.write(result_of(number))
            async with viewing(page) as client:
                assert (await client.picture())[0] == 19
            assert [number for number, _ in drawn] == [4, 5, 19] and seen == 2

    run(test)


def test_who_is_slow_gets_the_newest_and_none_between() -> None:
    async def test() -> None:
        with served() as (page, (camera,), _):
            async with viewing(page) as client:
                camera.write(result_of(0))
                assert (await client.picture())[0] == 0
                camera.write(result_of(1))
                assert (await client.picture())[0] == 1
                for number in range(2, 50):  # two are on their way: none of these is sent
                    camera.write(result_of(number))
                await client.text("figures")
                await client.say(SEEN)
                assert (await client.picture())[0] == 49

    run(test)


def test_viewers_of_one_view_share_a_picture_and_others_get_their_own(drawn: list[tuple[int, View]]) -> None:
    async def test() -> None:
        with served(2) as (page, (camera, other), _):
            async with viewing(page) as first, viewing(page) as second, viewing(page) as third:
                await third.say({"view": {**ALL, "overlay": False}})
                await until(lambda: View(0, 0, ()) in {each.view for each in page.viewers})
                for number in range(10):
                    camera.write(result_of(number))
                    for client in (first, second, third):
                        assert (await client.picture())[0] == number
                        await client.say(SEEN)
                assert len(drawn) == 20, "each picture once for the first two, once for the third"
                await second.say({"view": {**ALL, "camera": 1}})
                await until(lambda: 1 in {each.view.camera for each in page.viewers})
                other.write(result_of(77, height=64))
                number, picture = await second.picture()
                assert number == 77 and picture.shape[0] == 64

    run(test)


def test_who_shows_nothing_is_dropped_and_the_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        with served() as (page, (camera,), _):
            async with viewing(page) as silent:
                camera.write(result_of(0))
                await silent.picture()
                monkeypatch.setattr(viewer, "STALL_S", STALL_S)
                async with viewing(page) as client:
                    number = 0
                    while len(page.viewers) == 2 or number < 30:
                        number += 1
                        camera.write(result_of(number))
                        while (await client.picture())[0] < number:
                            await client.say(SEEN)
                        await client.say(SEEN)
                    assert await silent.end() == 1006, "cut, not closed politely"

    run(test)
    assert "at 127.0.0.1 stopped reading and was dropped" in capfd.readouterr().err


def test_who_stops_to_read_is_dropped_though_it_says_that_it_sees(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(viewer, "STALL_S", STALL_S)
    noise = result_of(0, 720, 1280)
    noise.frame.image[:] = np.random.default_rng(0).integers(0, 256, noise.frame.image.shape, np.uint8)

    async def test() -> None:
        with served() as (page, (camera,), _):
            async with viewing(page) as liar, viewing(page) as client:
                await until(lambda: len(page.viewers) == 2)
                number, ends = 0, time.monotonic() + WAIT_S
                with contextlib.suppress(ConnectionError):
                    while len(page.viewers) == 2 and time.monotonic() < ends:
                        number += 1
                        camera.write(replace(noise, frame=replace(noise.frame, number=number)))
                        await liar.say(SEEN)  # and never receives: buffers fill, then the server's send waits
                        while (await client.picture())[0] < number:
                            await client.say(SEEN)
                        await client.say(SEEN)
                await until(lambda: len(page.viewers) == 1)

    run(test)
    assert "stopped reading and was dropped" in capfd.readouterr().err


@pytest.mark.parametrize(
    "sent",
    ["[", "null", '{"seen": 2}', '{"view": {}}', '{"view": 1, "seen": 1}', "[" * 4000],
)
def test_messages_of_another_kind_end_it(sent: str) -> None:
    async def test() -> None:
        with served() as (page, _, _):
            async with viewing(page) as client:
                await client.socket.send_str(sent)
                assert await client.end() == 1008
            await until(lambda: not page.viewers)

    run(test)


def test_bytes_and_what_is_too_long_end_it() -> None:
    async def test() -> None:
        with served() as (page, _, _):
            async with viewing(page) as client:
                await client.socket.send_bytes(b"\0" * 100)
                assert await client.end() == 1008
            async with viewing(page) as client:
                await client.socket.send_str(" " * 5000)
                # 1006 where the reset comes before the goodbye.
                assert await client.end() in (1006, 1009)
            await until(lambda: not page.viewers)

    run(test)


def test_not_more_viewers_than_it_can_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_VIEWERS", 2)

    async def test() -> None:
        with served() as (page, (camera,), _):
            async with viewing(page), viewing(page) as second:
                await until(lambda: len(page.viewers) == 2)
                async with viewing(page) as third:
                    assert await third.end() == 1013
                camera.write(result_of(0))
                assert (await second.picture())[0] == 0

    run(test)


def test_figures_come_every_second_and_the_last_two_minutes_with_the_hello() -> None:
    async def test() -> None:
        with served(2) as (page, cameras, stats), running(cameras, stats):
            async with viewing(page) as client:
                await client.text("hello")
                rows = [(await client.text("figures"))["cameras"] for _ in range(2)]
                assert rows[0][0]["t_s"] < rows[1][0]["t_s"]
                row = rows[1][1]
                assert row["fps"] > 0 and 0 <= row["age_ms"] <= row["age_max_ms"] and not row["ended"]
                assert row["frames_in"] >= row["frames_out"] + row["dropped_in_all"] - 1
            async with viewing(page) as client:
                hello = await client.text("hello")
            assert [each["t_s"] for each in hello["history"][1]][-len(rows) :] >= [each[1]["t_s"] for each in rows]
            assert hello["classes"][1] == {"name": "dog", "color": "#ff0000"}

    run(test)


def test_a_row_of_figures_counts_since_the_last_one() -> None:
    stats = Stats()
    figures = Figures(stats)
    for age in (10.0, 30.0, 20.0):
        figures.note(age)
        stats.count("frames_in")
        stats.count("frames_out")
    row = figures.sample()
    assert (row["age_ms"], row["age_max_ms"], row["frames_out"], row["dropped"]) == (20.0, 30.0, 3, 0)
    assert row["fps"] > 0
    stats.count("frames_in")
    stats.count("dropped")
    row = figures.sample()
    assert (row["age_ms"], row["fps"], row["dropped"], row["dropped_in_all"], row["frames_in"]) == (None, 0, 1, 1, 4)
    for _ in range(200):
        figures.sample()
    assert len(figures.history) == 120


def test_the_end_says_goodbye_frees_the_port_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())

    async def test() -> None:
        with served(token=None) as (page, (camera,), _):
            address = page.url.split("/")[2]
            async with viewing(page) as client:
                camera.write(result_of(0))
                await client.picture()
                camera.close()
                while not (await client.text("figures"))["cameras"][0]["ended"]:
                    pass
                closing = asyncio.get_running_loop().run_in_executor(None, page.close)
                assert await client.end() == 1001
                await closing
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)
        # Late results of a run that is ending find nobody, and that is no error.
        camera.write(result_of(1))

    run(test)
    assert {thread for thread in threading.enumerate() if thread.name.startswith("edgeseg")} <= before


def test_a_page_that_breaks_down_is_cut_off_as_any_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Figures) -> dict[str, Any]:
        raise RuntimeError("the figures broke")

    with served() as (_, (camera,), _):
        guarded = Guarded(camera, "web page", live=True)
        monkeypatch.setattr(Figures, "sample", broken)
        ends = time.monotonic() + WAIT_S
        while guarded.error is None and time.monotonic() < ends:
            guarded.write(result_of(0))
            time.sleep(0.05)
        with pytest.raises(OutputError, match="the web page broke down: the figures broke"):
            guarded.close()
    assert "the web page is cut off" in capfd.readouterr().err


def test_a_hole_in_a_file_is_not_sat_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    now = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    camera = Camera("clip", Stats(), live=False, fps=None, paced=True, told=lambda _: None)
    for number, pts_s in enumerate([7.0, 7.1, 67.1, 67.2, 67.3]):
        one = result_of(number)
        camera.write(replace(one, frame=replace(one.frame, pts_s=pts_s)))
    assert slept == pytest.approx([0.0, 0.1, 1.0, 0.1, 0.1])


def test_a_file_is_seen_at_its_own_speed() -> None:
    with WebPage(("127.0.0.1", 0)) as page:
        camera = page.camera("clip", Stats(), live=False, fps=20, paced=True)
        page.start(CLASSES[1:])
        started = time.monotonic()
        for number in range(11):
            camera.write(result_of(number))
        assert time.monotonic() - started >= 0.5
        assert camera.figures.sample()["age_ms"] is None
