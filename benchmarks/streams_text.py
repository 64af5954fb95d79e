"""The page on several cameras and local readers, docs/streams.md, from the JSON of the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from texts import load, table

HOW = """# Several cameras at one model

    edgeseg run 0 rtsp://10.0.0.5/door street.mp4 --jsonl out.jsonl --stats -
    edgeseg run cameras.yaml --web

    cameras:
      - source: 0
        name: desk
      - source: rtsp://10.0.0.5/door
        name: door
        transport: udp

A camera's keys in the file are the options of `edgeseg run` that concern one source. Outputs get `-0`, `-1` and so on
before the suffix, the web page shows one camera at a time, and `--stats` holds each stream's own figures (`streams`).

All streams share one engine. They queue for it, each with its newest frame: a frame is taken from its camera when its
stream's turn has come, not before, so it is fresh however many streams there are. Who was served stands behind all who
wait: shares are equal. A stream without a frame does not queue, so a slow or dead one holds nobody up; one that fails
ends alone.

`--batch N` gathers frames of several streams for one call of the engine, none for longer than
`--batch-deadline-ms` (5). A batch that is not full in that time runs one picture at a time. It is off unless asked for:
whether it pays is a question of the device, and the table below compares them."""


def streams_page(machine: str, machine_of_readers: str) -> str:
    """The whole page; the machines in words, of the cameras and of the readers."""
    return (
        "\n\n".join([HOW, *_cameras(load("streams"), machine), *_readers(load("local_consumers"), machine_of_readers)])
        + "\n"
    )


def _cameras(body: Mapping[str, Any], machine: str) -> list[str]:
    if not body:
        return []
    rounds: Sequence[Mapping[str, Any]] = body["rounds"]
    size = body["batch"]
    rows = _pair("no more than the model takes", rounds, size)
    # Results of before this was measured lack it.
    beyond = [row["oversubscribed"] for row in rounds if "oversubscribed" in row]
    if beyond:
        rows += _pair(f"more than the model takes ({beyond[0]['fps']} fps each)", beyond, size)
    header = [
        "the cameras give",
        "results/s, median",
        "slowest of fastest, least",
        "age when taken, p95 ms",
        "frame age, p95 ms",
    ]
    return [
        "## Measured: several cameras",
        f"On {machine}, in {len(rounds)} rounds, ages of the worst stream in the worst of them: "
        "`python benchmarks/streams.py`, written by `python benchmarks/report.py`.",
        "\n".join(f"- {line}" for line in body["summary"]),
        table(header, rows),
    ]


def _pair(label: str, rounds: Sequence[Mapping[str, Any]], size: int) -> list[list[str]]:
    batched = [row["batched"] for row in rounds]
    return [_row(f"{label}, one at a time", rounds), _row(f"{label}, in batches of {size}", batched)]


def _row(label: str, rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        label,
        f"{median(row['total_fps'] for row in rounds):.1f}",
        f"{min(row['slowest_of_fastest'] for row in rounds):.2f}",
        f"{max(row['age_taken_p95_ms'] for row in rounds):.1f}",
        f"{max(row['frame_age_p95_ms'] for row in rounds):.1f}",
    ]


def _readers(body: Mapping[str, Any], machine: str) -> list[str]:
    if not body:
        return []
    rows = []
    for name, found in body["readers"].items():
        ages = [found["age_ms"][key] for key in ("p50_ms", "p95_ms")]
        order = "yes" if found["in_order"] else "no"
        shown = ["–" if age is None else f"{age:.1f}" for age in ages]
        rows.append([name, f"{found['got']} of {body['frames_out']}", str(found["missed"]), order, *shown])
    header = ["reader", "label maps read", "missed", "in order", "age when read, p50 ms", "p95 ms"]
    return [
        "## Measured: other processes that read the label maps",
        f"All at once, of {body['source']} and {body['model']}, on {machine}; Python and C++ from shared memory, DDS "
        "as a ROS 2 subscriber would ([shared_memory.md](shared_memory.md)): `python benchmarks/local_consumers.py`.",
        table(header, rows),
    ]
