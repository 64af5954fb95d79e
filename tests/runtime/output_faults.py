"""Faults of outputs and of the process: sinks that raise, block or fill the disk, signals in mid-recording."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from clip_maker import read_back
from faults import Outcome, Subject, Told
from stand_ins import Recorder

from edgeseg.cli.main import main
from edgeseg.runtime.pipeline import Pipeline
from edgeseg.runtime.recording import HEAD, LINES, read_head, segment_name
from edgeseg.runtime.sinks import JsonLines, Masks
from edgeseg.runtime.sinks import guarded as guard
from edgeseg.runtime.sinks.guarded import Guarded
from edgeseg.runtime.sources import open_source

CAMERA, FRAMES = "synthetic:64x48@60", 90
PATIENCE_S = 120.0


def beside_healthy_sinks(subject: Subject, ill: Recorder) -> tuple[dict[str, Any], Guarded, float]:
    """A live run with JSON lines, masks and one sink that is ill: its report, that sink, seconds from frames to end."""
    lines, masks = subject.folder / "lines.jsonl", subject.folder / "masks"
    sinks = [Guarded(JsonLines(lines, True), "lines", True), Guarded(Masks(masks), "masks", True)]
    sinks.append(Guarded(ill, "ill one", True))
    with subject.segmenter() as segmenter:
        pipeline = Pipeline(open_source(CAMERA, FRAMES), segmenter, sinks)
        pipeline.start()
        while pipeline.stats.counts()["frames_in"] < FRAMES:
            time.sleep(0.01)
        through = time.monotonic()
        assert pipeline.wait(PATIENCE_S)
        ended_s = time.monotonic() - through
    report = pipeline.stats.to_dict()
    assert report["frames_in"] == FRAMES == report["frames_out"] + report["dropped"] and not report["failed"]
    for sink, found in zip(sinks, (lines.read_text().count("\n"), len(list(masks.iterdir()))), strict=False):
        assert sink.error is None and sink.written == found and found + sink.dropped == report["frames_out"]
    # What the healthy ones lose, they lose to a busy machine.
    assert sinks[0].written > report["frames_out"] / 2
    assert sinks[2].error is pipeline.error
    return report, sinks[2], ended_s


def sink_raises(subject: Subject) -> Outcome:
    """One sink raises at its sixth result."""
    told, ill = Told(), Recorder(fails_at=5)
    with contextlib.redirect_stderr(told):
        report, sink, _ = beside_healthy_sinks(subject, ill)
    assert sink.written == 5 and sink.written + sink.dropped == report["frames_out"]
    assert told.about("warning") == ["warning: the ill one is cut off: the sink broke\n"] and ill.closed == 1
    return Outcome(
        f"a sink raises at its sixth result, on a live source of {FRAMES} frames",
        f"said at once and cut off; {report['frames_out']} results came out, the other outputs went on, and the run's "
        "exit is the sink's error",
    )


class Blocked(Recorder):
    """Never comes back from a write."""

    def __init__(self) -> None:
        super().__init__()
        self.wake = threading.Event()

    def write(self, result: object) -> None:
        self.wake.wait(PATIENCE_S)


def sink_blocks(subject: Subject) -> Outcome:
    """One sink blocks for ever at its first result."""
    ill = Blocked()
    try:
        report, sink, ended_s = beside_healthy_sinks(subject, ill)
    finally:
        ill.wake.set()
    assert (sink.written, sink.dropped) == (0, report["frames_out"]), "what it held and what waited is lost"
    assert "does not come to an end" in str(sink.error)
    closing_s = guard.CLOSING_S
    return Outcome(
        f"a sink blocks for ever at its first result, on a live source of {FRAMES} frames",
        f"{report['frames_out']} results came out and the other outputs went on; at the end it was given "
        f"{closing_s:g} s and left behind, with an error",
        {"end of the run after the last frame": ended_s},
        {"end of the run after the last frame": closing_s + 2.0},
    )


# A file system of its own, so small that a video fills it; it goes with the process, so what it held is copied out.
TINY_DISK = """
mount -t tmpfs -o size=60k tiny "$1" || exit 9
disk=$1 kept=$2
shift 2
"$@"
code=$?
cp "$disk"/* "$kept"
exit $code
"""
# Where that is not allowed: the kernel refuses to let any file grow further.
LIMITED = """
import resource, sys
from edgeseg.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
sys.exit(main(sys.argv[1:]))
"""


def may_mount() -> bool:
    """Whether this system lets us mount a file system in a namespace of our own."""
    words = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def disk_full(subject: Subject, mounted: bool | None = None) -> Outcome:
    """A recording onto a disk that fills up, beside JSON lines on another one.

    Args:
        subject: whose model runs.
        mounted: on a file system of 60 KB, or under a limit on every file's size; the first where that is allowed.
    """
    mounted = may_mount() if mounted is None else mounted
    disk, kept = subject.folder / "disk", subject.folder / "kept"
    disk.mkdir()
    kept.mkdir()
    lines, stats = subject.folder / "out.jsonl", subject.folder / "stats.json"
    words = ["run", "demo", "--max-frames", "120", *subject.words, "--save", str(disk / "out.mp4")]
    words += ["--jsonl", str(lines), "--stats", str(stats)]
    if mounted:
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", TINY_DISK, "sh", str(disk), str(kept)]
        command += [sys.executable, "-m", "edgeseg", *words]
    else:
        command, kept = [sys.executable, "-c", LIMITED, *words], disk
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 3, done.stderr
    assert "warning: the video is cut off: cannot write the video" in done.stderr
    reason = "No space left" if mounted else "File too large"
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: cannot write the video") and reason in last, last
    # Read as players do, which pass over the half picture at its end.
    with open_source(kept / "out.mp4") as written, contextlib.redirect_stderr(Told()):
        plays = len(list(written))
    outputs = {own["output"]: own for own in json.loads(stats.read_text())["outputs"]}
    assert plays > 5 and outputs["video"]["error"] and outputs["video"]["dropped"] > 0
    assert outputs["file of JSON lines"]["written"] == lines.read_text().count("\n") == 120
    return Outcome(
        "the disk is full in mid-recording" if mounted else "a file may not grow in mid-recording",
        f"said at once, exit code 3; the file plays ({plays} pictures); 120 of 120 JSON lines were written",
    )


def signalled(subject: Subject, number: signal.Signals) -> Outcome:
    """A signal in mid-recording."""
    names = ("out.mp4", "out.jsonl", "stats.json")
    video, lines, stats = (subject.folder / name for name in names)
    words = ["run", *subject.words, "--save", str(video), "--jsonl", str(lines), "--stats", str(stats)]
    command = [sys.executable, "-m", "edgeseg", *words, "synthetic:64x48@50"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            ends = time.monotonic() + PATIENCE_S
            while not (lines.exists() and lines.read_text().count("\n") >= 30):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < ends
                time.sleep(0.02)
            process.send_signal(number)
            sent = time.monotonic()
            out, err = process.communicate(timeout=PATIENCE_S)
            ended_s = time.monotonic() - sent
        finally:
            process.kill()
    assert process.returncode == 0 and not [line for line in err.splitlines() if line.startswith("error")], err
    figures = json.loads(stats.read_text())
    came = figures["frames_out"]
    assert figures["frames_in"] == sum(figures[key] for key in ("frames_out", "dropped", "skipped", "failed"))
    outputs = {own["output"]: own for own in figures["outputs"]}
    assert _plays(video) == outputs["video"]["written"] == came - outputs["video"]["dropped"] > 10
    assert lines.read_text().count("\n") == outputs["file of JSON lines"]["written"]
    assert f"{came} out" in out
    return Outcome(
        f"{number.name} in mid-recording",
        f"exit code 0; the video plays, all {_plays(video)} pictures that it took; the figures add up",
        {"from the signal to the end": ended_s},
    )


# With the times to wait of this process.
HURRIED = """
import sys
from edgeseg.cli.main import main
from edgeseg.runtime.sinks import guarded
guarded.CLOSING_S, guarded.HOLD_UP_S = map(float, sys.argv[1:3])
sys.exit(main(sys.argv[3:]))
"""


@contextlib.contextmanager
def recording_on_a_disk_that_hangs(subject: Subject, source: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run beside JSON lines whose recorded pictures go into a pipe that nobody reads: once it is full, writing hangs.

    Yields the process and the other end of that pipe.
    """
    tape = subject.folder / "tape"
    tape.mkdir()
    os.mkfifo(tape / segment_name(0))
    reader = os.open(tape / segment_name(0), os.O_RDONLY | os.O_NONBLOCK)
    words = ["run", source, *subject.words, "--record", str(tape), "--jsonl", str(subject.folder / "out.jsonl")]
    command = [sys.executable, "-c", HURRIED, str(guard.CLOSING_S), str(guard.HOLD_UP_S), *words]
    with (
        (subject.folder / "err").open("w") as err,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as process,
    ):
        try:
            yield process, reader
        finally:
            process.kill()
            os.close(reader)


def _wait_until(true: Callable[[], bool], process: subprocess.Popen[str], subject: Subject) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None and time.monotonic() < ends, (subject.folder / "err").read_text()
        time.sleep(0.02)


def _lines(subject: Subject) -> int:
    path = subject.folder / "out.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def recorder_hangs(subject: Subject) -> Outcome:
    """A live source is recorded onto a disk that hangs, and comes back much later."""
    tape, err, pictures = subject.folder / "tape", subject.folder / "err", bytearray()

    def drain(reader: int) -> None:
        os.set_blocking(reader, True)
        while block := os.read(reader, 1 << 16):
            pictures.extend(block)

    with recording_on_a_disk_that_hangs(subject, CAMERA) as (process, reader):
        _wait_until(lambda: "is cut off" in err.read_text(), process, subject)
        for then in (lambda _: None, drain):
            before = _lines(subject)
            _wait_until(lambda before=before: _lines(subject) >= before + 30, process, subject)  # type: ignore[misc]
            then(reader)
        before = _lines(subject)
        _wait_until(lambda: _lines(subject) >= before + 5, process, subject)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    told = err.read_text().splitlines()
    assert process.returncode == 3, told
    assert told[-2].startswith("warning: the recording is cut off: the recording holds up the camera"), told
    assert told[-1].startswith("error: the recording holds up the camera"), told
    written = [json.loads(line) for line in (subject.folder / "out.jsonl").read_text().splitlines()]
    pause_s = max(b["captured_ns"] - a["captured_ns"] for a, b in zip(written, written[1:], strict=False)) / 1e9

    # What came through the pipe before the hole is a recording of that.
    assert "holds up the camera" in (read_head(tape).incomplete or "") and not read_head(tape).counts
    kept = [json.loads(line) for line in (tape / LINES).read_text().splitlines()]
    taken = [line["frame"] for line in kept if line["decision"] == "taken"]
    assert taken == [line["frame"] for line in written[: len(taken)]] and 5 < len(taken) < len(written) - 60
    (tape / segment_name(0)).unlink()
    (tape / segment_name(0)).write_bytes(pictures)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["run", f"replay:{tape}"]) == 0
    replayed = f"replay: {len(taken)} of {len(taken)} recorded masks, all identical; it ends before its run did"
    assert replayed in out.getvalue(), out.getvalue()
    hold_up_s, what = guard.HOLD_UP_S, "pause of the other outputs"
    return Outcome(
        "the disk under --record hangs, on a live source",
        f"waited for {hold_up_s:g} s, then said and cut off; the other outputs went on, and the run's exit is that "
        f"error; the recording ends before the hole, says so, and replays: {len(taken)} masks, all identical",
        {what: pause_s},
        {what: hold_up_s + 1.0},
    )


def signalled_while_a_disk_hangs(subject: Subject) -> Outcome:
    """SIGTERM while a source that waits is recorded onto a disk that hangs."""
    looks = [0]
    with recording_on_a_disk_that_hangs(subject, CAMERA.partition("@")[0]) as (process, _):

        def hangs() -> bool:
            time.sleep(0.2)
            looks.append(_lines(subject))
            return looks[-1] > 5 and len(set(looks[-4:])) == 1

        _wait_until(hangs, process, subject)
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        process.communicate(timeout=PATIENCE_S)
        ended_s = time.monotonic() - sent
    told = (subject.folder / "err").read_text().splitlines()
    assert process.returncode == 3 and told[-1].startswith("error: the recording does not come to an end"), told
    assert (subject.folder / "out.jsonl").read_bytes().endswith(b"\n") and (subject.folder / "tape" / HEAD).exists()
    closing_s, what = guard.CLOSING_S, "from the signal to the end"
    assert ended_s > 0.8 * closing_s
    return Outcome(
        "SIGTERM while the disk under --record hangs, on a source that waits for its outputs",
        f"the disk was given {closing_s:g} s and left behind, with an error; exit code 3; the other outputs are whole",
        {what: ended_s},
        {what: closing_s + 3.0},
    )


def _plays(video: Path) -> int:
    assert not video.with_name(f"{video.name}.part").exists()
    return len(read_back(video)[0])


FAULTS: tuple[Callable[[Subject], Outcome], ...] = (
    sink_raises,
    sink_blocks,
    recorder_hangs,
    disk_full,
    signalled_while_a_disk_hangs,
    partial(signalled, number=signal.SIGTERM),
    partial(signalled, number=signal.SIGINT),
)
