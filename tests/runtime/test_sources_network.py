"""Network cameras against a real RTSP server; what happens to it while it is read is in `source_faults`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rtsp_server import RtspServer

from edgeseg.cli.main import main
from edgeseg.errors import InputError, UsageError
from edgeseg.runtime.sources import StreamOptions, open_source
from edgeseg.runtime.sources.arrival import ArrivalClock
from edgeseg.runtime.sources.network import without_password
from edgeseg.runtime.sources.resilient import Patience, Resilient, Shot


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
def server(rtsp: None) -> Iterator[RtspServer]:
    with RtspServer() as running:
        yield running


def opened(server: RtspServer, stall_timeout_s: float) -> Resilient:
    source = open_source(server.address, options=StreamOptions(patience=Patience(stall_timeout_s=stall_timeout_s)))
    assert isinstance(source, Resilient)
    return source


def test_what_waited_in_a_queue_is_not_called_new(server: RtspServer) -> None:
    """A reader that sleeps leaves pictures in the socket; they come in a burst, and each keeps its age."""
    with opened(server, stall_timeout_s=20) as source:
        frames = iter(source)
        for _ in range(25):
            next(frames)
        time.sleep(1.5)
        burst = [next(frames) for _ in range(30)]
    taken_s = np.array([frame.captured_ns for frame in burst]) / 1e9
    own_s = np.array([frame.pts_s for frame in burst], float)
    # One that comes late while the clock is learnt costs its delay once; by arrival alone all would be of one time.
    assert taken_s[-1] - taken_s[0] == pytest.approx(own_s[-1] - own_s[0], abs=0.5)
    assert own_s[-1] - own_s[0] > 1.0 and (np.diff(taken_s) > 0).all()
    assert time.monotonic() - taken_s[0] > 1.0


def test_closing_does_not_wait_for_a_stalled_stream(server: RtspServer) -> None:
    source = opened(server, stall_timeout_s=120)
    frames = iter(source)
    next(frames)
    server.freeze()
    threading.Timer(0.5, source.close).start()
    started = time.monotonic()
    assert list(frames) is not None
    assert time.monotonic() - started < 60, "it did not wait until it counted as stalled"
    server.thaw()


def test_nobody_there(capsys: pytest.CaptureFixture[str], tiny_model: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    words = ["run", f"rtsp://me:secret@127.0.0.1:{port}/x", "--open-timeout-s", "1.2", "--model", str(tiny_model)]
    assert main(words) == 3
    assert time.monotonic() - started > 1.0
    told = capsys.readouterr().err
    assert told.startswith("error: the source cannot be opened: rtsp://127.0.0.1:") and told.count("\n") == 1
    assert "refused" in told and "secret" not in told and "for 1.2 s" in told


def test_a_password_is_not_shown() -> None:
    assert without_password("rtsp://me:s@cret@host:554/a?b=c") == "rtsp://host:554/a?b=c"
    assert without_password("rtsp://host/a@b") == "rtsp://host/a@b"
    with pytest.raises(InputError, match=r"not an address: rtsp://\.\.\. ") as caught:
        open_source("rtsp://me:secret@[::1/x")
    assert "secret" not in str(caught.value)


def test_options_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="Did you mean 'tcp'"):
        StreamOptions("tpc")
    with pytest.raises(UsageError, match="retry_s is no time to wait: 0"):
        Patience(retry_s=0)
    with pytest.raises(UsageError, match="open_timeout_s is no time to wait: inf"):
        Patience(open_timeout_s=float("inf"))


def test_a_connection_whose_end_fails_is_made_again_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    class Bad:
        fps = None

        def __init__(self) -> None:
            self.left = 2

        def read(self) -> Shot | None:
            self.left -= 1
            return Shot(np.zeros((4, 4, 3), np.uint8), time.monotonic_ns()) if self.left >= 0 else None

        def close(self) -> None:
            raise OSError("the end broke")

    patience = Patience(open_timeout_s=60.0, stall_timeout_s=60.0)
    started = time.monotonic()
    with Resilient("test", Bad, patience, max_frames=3) as source:
        assert [frame.session for frame in source] == [0, 0, 1]
    assert time.monotonic() - started < 30, "it did not wait until it counted as stalled"
    assert "warning: test is lost (the end broke); trying" in capfd.readouterr().err


def test_a_source_that_never_opened_leaves_no_thread() -> None:
    def connect() -> None:
        raise InputError("cannot connect", "nobody", "")

    with pytest.raises(InputError, match="nobody, for 0.3 s"):
        Resilient("test", connect, Patience(open_timeout_s=0.3))  # type: ignore[arg-type]
    ends = time.monotonic() + 30
    while [thread for thread in threading.enumerate() if thread.name == "edgeseg-test"]:
        assert time.monotonic() < ends
        time.sleep(0.01)
