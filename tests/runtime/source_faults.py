"""Faults of sources: servers that die, return or freeze, files that were cut off, pictures that change their size."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import av
import numpy as np
from clip_maker import h264, make_clip, noise, spoil, spoil_part
from faults import Outcome, Subject, Told
from rtsp_server import RtspServer

from edgeseg.cli.main import main
from edgeseg.errors import InputError
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.runtime.sources import StreamOptions, open_source
from edgeseg.runtime.sources.resilient import Resilient
from edgeseg.runtime.temporal import Smoother
from edgeseg.types import Result

FIRST_MASK_S, BACK_S = 3.0, 2.0
AWAY_S = 2.5  # long enough for several tries in vain
CUTS = 10
# Suffix and flags. A file's index stands in its stream, at its front, in each of its fragments, or at its end.
KINDS = ("mkv", ""), ("mp4", "faststart"), ("mov", "frag_keyframe+empty_moov"), ("mp4", "")


def network_camera(address: str, subject: Subject, transport: str = "tcp") -> Resilient:
    """That source, opened."""
    source = open_source(address, options=StreamOptions(transport, subject.patience))
    assert isinstance(source, Resilient) and source.live
    return source


def first_mask(subject: Subject, transport: str) -> Outcome:
    """No fault yet: how long it takes from connecting to the first mask."""
    with RtspServer() as server, subject.segmenter() as segmenter:
        started = time.monotonic()
        source = network_camera(server.address, subject, transport)
        with closing(Pipeline(source, segmenter).results()) as results:
            first = next(results)
            took_s = time.monotonic() - started
            seen = [next(results) for _ in range(10)]
    assert first.label_map.shape == first.frame.image.shape[:2] == (96, 128)
    assert first.frame.image.max() > 150 > first.frame.image.mean(), "a bright ball on black"
    numbers = [result.frame_number for result in seen]
    assert numbers == sorted(set(numbers)) and all(result.frame.pts_s is not None for result in seen)
    what = "first mask after connecting"
    return Outcome(f"RTSP over {transport.upper()}: none yet", "masks come", {what: took_s}, {what: FIRST_MASK_S})


class CountedSmoother(Smoother):
    """Counts how often it forgets."""

    resets = 0

    def reset(self) -> None:
        self.resets += 1
        super().reset()


def server_killed(subject: Subject) -> Outcome:
    """An RTSP server that is killed in mid-stream and started again."""
    told, smoother = Told(), CountedSmoother("exponential", 0.9)
    with RtspServer() as server, subject.segmenter() as segmenter, contextlib.redirect_stderr(told):
        source = network_camera(server.address, subject)
        with closing(Pipeline(source, segmenter, smoother=smoother).results()) as results:
            assert [next(results).frame.session for _ in range(5)] == [0] * 5
            before = smoother.resets
            server.kill()
            time.sleep(AWAY_S)
            server.start()
            returned = time.monotonic()
            back = next(result for result in results if result.frame.session == 1)
            back_s = time.monotonic() - returned
            assert smoother.resets == before + 1, "what was remembered is forgotten"
            assert next(results).frame_number > back.frame_number > 4
    health = source.health
    assert health.reconnects == 1 and AWAY_S - 0.1 < health.away_s < 30
    decoded, *lines = told.about(server.address)
    assert decoded.rstrip().endswith("is decoded in software") and health.decoder == "in software"
    assert len(lines) == 2 and "is lost" in lines[0] and "is back after" in lines[1], lines
    what = "picture back after the server's return"
    return Outcome(
        f"RTSP server killed, and started again after {AWAY_S:g} s",
        f"connected again; the gap of {health.away_s:.1f} s was counted and logged once; smoothing began afresh",
        {what: back_s},
        {what: BACK_S},
    )


def server_frozen(subject: Subject) -> Outcome:
    """An RTSP server that stops without closing its connection (SIGSTOP), and goes on later."""
    told, thawed = Told(), list[float]()
    stall_s = subject.patience.stall_timeout_s
    with RtspServer() as server, subject.segmenter() as segmenter, contextlib.redirect_stderr(told):

        def thaw() -> None:
            told.wait_for("is lost")
            time.sleep(1)
            server.thaw()
            thawed.append(time.monotonic())

        source = network_camera(server.address, subject)
        with closing(Pipeline(source, segmenter).results()) as results:
            next(results)
            server.freeze()
            frozen = time.monotonic()
            waker = threading.Thread(target=thaw)
            waker.start()
            next(result for result in results if result.frame.session == 1)
            back_at = time.monotonic()
            waker.join()
    assert source.health.reconnects == 1
    noticed_s = told.wait_for("is lost") - frozen
    assert noticed_s > 0.8 * stall_s
    return Outcome(
        f"RTSP server frozen, its connection open; --stall-timeout-s {stall_s:g}",
        "noticed by the watchdog; connected again once the server went on",
        {"noticed": noticed_s, "picture back after the server went on": back_at - thawed[0]},
        {"noticed": stall_s + 1.0},
    )


def another_size_after_the_return(subject: Subject) -> Outcome:
    """An RTSP server that returns with another picture size."""
    with RtspServer() as server, subject.segmenter() as segmenter, contextlib.redirect_stderr(Told()):
        source = network_camera(server.address, subject)
        with closing(Pipeline(source, segmenter).results()) as results:
            assert next(results).label_map.shape == (96, 128)
            server.kill()
            server.start(width=160, height=64)
            returned = time.monotonic()
            after = next(result for result in results if result.frame.session)
            back_s = time.monotonic() - returned
    assert after.label_map.shape == after.frame.image.shape[:2] == (64, 160)
    what = "picture back after the server's return"
    return Outcome(
        "RTSP server killed; it returns with 160x64 for 128x96",
        "masks of the new size",
        {what: back_s},
        {what: BACK_S},
    )


@contextlib.contextmanager
def sending(content: bytes) -> Iterator[str]:
    """The address of a sender of those bytes to whoever connects; it keeps the connection open until the end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def send() -> None:
            connection, _ = listening.accept()
            # Whoever has seen enough leaves before everything was sent.
            with connection, contextlib.suppress(OSError):
                connection.sendall(content)
                over.wait(60)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()


def size_changes(subject: Subject) -> Outcome:
    """H.264 streams one after the other on one connection: an encoder that was told another size, then other pixels."""
    streams = (96, 64, "yuv420p"), (64, 128, "yuv420p"), (64, 128, "yuv444p"), (160, 48, "yuv420p")
    content = b"".join(h264(width, height, pixels=pixels) for width, height, pixels in streams)
    seen: list[Result] = []
    with sending(content) as address, subject.segmenter() as segmenter:
        pipeline = Pipeline(network_camera(address, subject), segmenter, policy="all")
        with closing(pipeline.results()) as results:
            for result in results:
                seen.append(result)
                if result.label_map.shape == (48, 160) == seen[-5 % len(seen)].label_map.shape:
                    break
    shapes = [result.label_map.shape for result in seen]
    assert all(result.frame.image.shape[:2] == result.label_map.shape for result in seen)
    assert list(dict.fromkeys(shapes)) == [(64, 96), (128, 64), (48, 160)] and {r.frame.session for r in seen} == {0}
    # Two streams in the middle; a decoder may lose a few pictures at each change.
    assert shapes.count((64, 96)) > 30 and shapes.count((128, 64)) > 65
    waits_s = [
        (b.frame.captured_ns - a.frame.captured_ns) / 1e9
        for a, b in zip(seen, seen[1:], strict=False)
        if a.label_map.shape != b.label_map.shape
    ]
    return Outcome(
        "stream changes from 96x64 to 64x128, then from 4:2:0 to 4:4:4, then to 160x48",
        f"followed without a new connection: {len(seen)} masks, each of its picture's size",
        {"longest wait at a change of size": max(waits_s)},
    )


def damaged_stream(subject: Subject) -> Outcome:
    """Some pictures of a camera's H.264 stream are damaged on the way; its next key picture is sound."""
    first, second, last = h264(96, 64), h264(96, 64), h264(160, 48)
    counted, seen = [], []
    for sent in (first, spoil(first, lost=(10, 20, 30), patched=(15, 25))):
        results: list[Result] = []
        sender, quiet = sending(sent + second + last), contextlib.redirect_stderr(Told())
        with sender as address, subject.segmenter() as segmenter, quiet:
            source = network_camera(address, subject)
            with closing(Pipeline(source, segmenter, policy="all").results()) as coming:
                for result in coming:
                    if result.label_map.shape == (48, 160):
                        break
                    results.append(result)
        counted.append((source.health.corrupt, source.health.patched))
        seen.append(results)
    whole, hurt = seen
    (corrupt, patched), lost = counted[1], len(whole) - len(hurt)
    assert counted[0] == (0, 0) and len(whole) >= 75
    # Which ones a decoder can patch, and says so, is its own choice.
    assert corrupt == lost == 3 and patched >= 1, (counted, lost)
    assert {result.frame.session for result in hurt} == {0}, "no new connection"
    for a, b in zip(whole[-35:], hurt[-35:], strict=True):
        assert np.array_equal(a.frame.image, b.frame.image) and np.array_equal(a.label_map, b.label_map)
    return Outcome(
        "5 damaged pictures in a camera's H.264 stream, 3 of them beyond repair",
        f"{len(hurt)} of {len(whole)} masks came, on one connection, and were right again from the next key picture; "
        f"counted: {corrupt} packets that were left out, {patched} of the others that the decoder said it had patched",
    )


def damaged_file(subject: Subject) -> Outcome:
    """Pictures of a video file are damaged."""
    path, stats = make_clip(subject.folder / "hurt.mkv", noise(40), fps=20), subject.folder / "stats.json"
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    spoilt = bytearray(content)
    for packet in (packets[place] for place in (10, 20, 30)):
        # The slice's length and kind come first.
        place = content.index(packet)
        spoil_part(spoilt, place + 5, place + len(packet))
    path.write_bytes(spoilt)
    told = Told()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(Told()):
        assert main(["run", str(path), *subject.words, "--stats", str(stats)]) == 0
    figures = json.loads(stats.read_text())
    corrupt, came = figures["source_health"]["corrupt"], figures["frames_out"]
    assert corrupt == 40 - came == 3, figures
    assert "hurt.mkv is damaged: 3 damaged packets could not be decoded and left gaps\n" in told.lines[-1][1], (
        told.lines
    )
    return Outcome(
        "MKV with 3 damaged pictures",
        f"{corrupt} packets were left out, said, and counted in --stats; {came} of 40 masks came, exit code 0",
    )


def truncated(subject: Subject) -> Outcome:
    """Video files of four kinds, each cut off at ten random places."""
    gave = refused = 0
    least, most = 1.0, 0.0
    rng = random.Random(7)
    with subject.segmenter() as segmenter:
        for suffix, flags in KINDS:
            whole = make_clip(subject.folder / f"whole.{suffix}", noise(40), fps=20, movflags=flags)
            data, wanted = whole.read_bytes(), _masks(whole, segmenter)[0]
            assert len(wanted) == 40
            for number in range(CUTS):
                part = subject.folder / f"part-{number}.{suffix}"
                part.write_bytes(data[: rng.randrange(1, len(data))])
                try:
                    masks, broken = _masks(part, segmenter)
                except InputError as error:
                    assert part.name in str(error) and "\n" not in str(error)
                    refused += 1
                    continue
                assert masks and (broken or len(masks) == 40)
                assert all(np.array_equal(a, b) for a, b in zip(masks, wanted, strict=False))
                gave += 1
                least, most = min(least, len(masks) / 40), max(most, len(masks) / 40)
    assert gave > CUTS and refused >= CUTS
    return Outcome(
        f"MKV, fragmented MOV, and MP4 with its index in front or at the end, each cut off at {CUTS} random places",
        f"{gave} gave what was there ({least:.0%} to {most:.0%}), masks equal to the whole file's, and said where it "
        f"ends; {refused} had lost the index, and were refused in one line",
    )


def _masks(path: Path, segmenter: Segmenter) -> tuple[list[np.ndarray], str | None]:
    source = open_source(path)
    masks = [result.label_map for result in Pipeline(source, segmenter).results()]
    return masks, source.broken


NEED_SERVER: tuple[Callable[[Subject], Outcome], ...] = (
    partial(first_mask, transport="tcp"),
    partial(first_mask, transport="udp"),
    server_killed,
    server_frozen,
    another_size_after_the_return,
)
OTHERS: tuple[Callable[[Subject], Outcome], ...] = (size_changes, damaged_stream, damaged_file, truncated)
