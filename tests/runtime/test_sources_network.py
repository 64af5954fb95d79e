"""Network cameras against a real RTSP server that is killed, restarted and frozen; a stream that changes its size."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from rtsp_server import RtspServer, why_absent

from edgeseg.cli.main import main
from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.backends import load_backend
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sources import StreamOptions, open_source
from edgeseg.runtime.sources.arrival import ArrivalClock
from edgeseg.runtime.sources.network import without_password
from edgeseg.runtime.sources.resilient import Patience, Resilient
from edgeseg.runtime.temporal import Smoother

QUICK = StreamOptions(patience=Patience(open_timeout_s=10.0, stall_timeout_s=1.0, retry_s=0.5))


def test_stamps_follow_the_stream_s_clock_and_its_drift() -> None:
    clock, start = ArrivalClock(), 5_000_000_000
    rng = np.random.default_rng(0)
    late, worst = 0, 0.0
    for number in range(20_000):  # 13 minutes at 25 frames a second, by a camera whose clock runs 100 ppm slow
        own_s = number / 25
        true_ns = start + round(own_s * 1.0001e9)
        arrived_ns = true_ns + round(rng.exponential(0.02) * 1e9)
        stamp = clock.stamp(arrived_ns, own_s)
        assert stamp <= arrived_ns
        late += stamp > true_ns + 5_000_000
        worst = max(worst, abs(stamp - true_ns) / 1e9 if number > 100 else 0.0)
    assert worst < 0.006 and late < 100
    # It begins to count anew.
    assert clock.stamp(start + 10**13, 0.0) == start + 10**13
    assert clock.stamp(7, None) == 7


@pytest.fixture
def server() -> Iterator[RtspServer]:
    absent = why_absent()
    if absent:
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    with RtspServer() as running:
        yield running


def opened(server: RtspServer, options: StreamOptions = QUICK) -> Resilient:
    source = open_source(server.address, options=options)
    assert isinstance(source, Resilient)
    return source


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_first_mask_comes_within_three_seconds(server: RtspServer, tiny_model: Path, transport: str) -> None:
    with Segmenter(load_backend(tiny_model, "onnxruntime")) as segmenter:
        segmenter.warm_up()
        started = time.monotonic()
        source = opened(server, StreamOptions(transport, QUICK.patience))
        assert source.live and source.fps == pytest.approx(25, abs=1)
        with closing(Pipeline(source, segmenter).results()) as results:
            first = next(results)
            assert time.monotonic() - started < 3.0
            assert first.label_map.shape == (96, 128) and first.label_map.max() == 1, "the ball is bright"
            seen = [next(results) for _ in range(10)]
    numbers = [result.frame_number for result in seen]
    assert numbers == sorted(set(numbers)) and all(result.frame.pts_s is not None for result in seen)


def test_what_waited_in_a_queue_is_not_called_new(server: RtspServer) -> None:
    """A reader that sleeps leaves pictures in the socket; they come in a burst, and each keeps its age."""
    with opened(server, StreamOptions(patience=Patience(stall_timeout_s=8))) as source:
        frames = iter(source)
        for _ in range(25):
            next(frames)
        time.sleep(1.5)
        burst = [next(frames) for _ in range(30)]
    taken_s = np.array([frame.captured_ns for frame in burst]) / 1e9
    own_s = np.array([frame.pts_s for frame in burst], float)
    np.testing.assert_allclose(np.diff(taken_s), np.diff(own_s), atol=0.03)
    assert time.monotonic() - taken_s[0] > 1.0


def test_a_server_that_dies_and_returns(
    server: RtspServer, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = opened(server)
    smoother = Smoother("exponential", 0.9)
    resets: list[int] = []
    forget = smoother.reset
    smoother.reset = lambda: (resets.append(1), forget())[1]  # type: ignore[method-assign]
    with (
        Segmenter(load_backend(tiny_model, "onnxruntime")) as segmenter,
        closing(Pipeline(source, segmenter, smoother=smoother).results()) as results,
    ):
        assert [next(results).frame.session for _ in range(5)] == [0] * 5
        before = len(resets)
        server.kill()
        time.sleep(2.5)  # several tries in vain
        server.start()
        returned = time.monotonic()
        after = next(result for result in results if result.frame.session == 1)
        assert time.monotonic() - returned < 2.0
        assert len(resets) == before + 1, "what was remembered is forgotten"
        assert next(results).frame_number > after.frame_number > 4
    assert source.health.reconnects == 1 and 2.4 < source.health.away_s < 8
    told = [line for line in capfd.readouterr().err.splitlines() if "rtsp" in line and "//127" in line]
    assert len(told) == 2 and "is lost" in told[0] and "is back after" in told[1], told


def test_another_size_after_the_return(server: RtspServer) -> None:
    with opened(server) as source:
        frames = iter(source)
        assert next(frames).image.shape == (96, 128, 3)
        server.kill()
        server.start(width=160, height=64)
        assert next(frame for frame in frames if frame.session).image.shape == (64, 160, 3)


def test_a_stream_that_stalls_without_closing(server: RtspServer, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(server) as source:
        frames = iter(source)
        next(frames)
        server.freeze()
        threading.Timer(3.0, server.thaw).start()
        after = next(frame for frame in frames if frame.session)
        assert source.health.reconnects == 1 and after.session == 1
    assert "is lost" in capfd.readouterr().err


def test_closing_does_not_wait_for_a_stalled_stream(server: RtspServer) -> None:
    patient = StreamOptions(patience=Patience(stall_timeout_s=60))
    source = opened(server, patient)
    frames = iter(source)
    next(frames)
    server.freeze()
    threading.Timer(0.5, source.close).start()
    started = time.monotonic()
    assert list(frames) is not None
    assert time.monotonic() - started < 2.0
    server.thaw()


def test_nobody_there(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    words = ["run", f"rtsp://me:secret@127.0.0.1:{port}/x", "--open-timeout-s", "1.2", "--model", str(tiny_model)]
    assert main(words) == 3
    assert 1.0 < time.monotonic() - started < 5.0
    told = capsys.readouterr().err
    assert told.startswith("error: the source cannot be opened: rtsp://127.0.0.1:") and told.count("\n") == 1
    assert "refused" in told and "secret" not in told and "for 1.2 s" in told


def test_a_password_is_not_shown() -> None:
    assert without_password("rtsp://me:s@cret@host:554/a?b=c") == "rtsp://host:554/a?b=c"
    assert without_password("rtsp://host/a@b") == "rtsp://host/a@b"


def test_options_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="Did you mean 'tcp'"):
        StreamOptions("tpc")
    with pytest.raises(UsageError, match="retry_s is no time to wait: 0"):
        Patience(retry_s=0)


def test_pictures_that_change_their_size_in_the_middle_are_followed() -> None:
    """Two H.264 streams, one after the other over one connection: an encoder that was told another size."""
    content = b"".join(h264(width, height) for width, height in ((96, 64), (64, 128)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def send() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(content)
                time.sleep(3)

        threading.Thread(target=send, daemon=True).start()
        with open_source(f"tcp://127.0.0.1:{port}", options=QUICK) as source:
            shapes = []
            for frame in source:
                shapes.append(frame.image.shape[:2])
                if shapes.count((128, 64)) == 5:
                    break
    assert set(shapes[:5]) == {(64, 96)} and set(shapes[-5:]) == {(128, 64)}


def h264(width: int, height: int, frames: int = 40) -> bytes:
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate, codec.time_base = Fraction(25), Fraction(1, 25)
    codec.options = {"tune": "zerolatency", "preset": "ultrafast"}
    out = b""
    for number in range(frames + 1):
        picture = None
        if number < frames:
            image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            picture = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
            picture.pts = number
        out += b"".join(bytes(packet) for packet in codec.encode(picture))
    return out


def test_a_source_that_never_opened_leaves_no_thread() -> None:
    def connect() -> None:
        raise InputError("cannot connect", "nobody", "")

    with pytest.raises(InputError, match="nobody, for 0.3 s"):
        Resilient("test", connect, Patience(open_timeout_s=0.3))  # type: ignore[arg-type]
    time.sleep(0.2)
    assert not [thread for thread in threading.enumerate() if thread.name == "edgeseg-test"]
