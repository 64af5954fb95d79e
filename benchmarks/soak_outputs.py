"""The outputs of a soak: what stands on the command line, how far they got, and what they hold at the end."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import IO

SOURCE = "synthetic:64x48"


class Outputs:
    """Every output of many kinds, files in a folder. Masks are counted and taken away while they come."""

    def __init__(self, folder: Path) -> None:
        self.masks, self.lines, self.video = folder / "masks", folder / "out.jsonl", folder / "out.mkv"
        self.masks.mkdir()
        self.masks_seen = 0
        self.port = free_port()

    @property
    def words(self) -> list[str]:
        """On the command line. Not MP4, whose index is kept in memory until the end and grows with each frame."""
        words = ["--masks", str(self.masks), "--jsonl", str(self.lines), "--save", str(self.video)]
        words += ["--shm", f"edgeseg-soak-{self.port}", "--ros", f"edgeseg/soak{self.port}"]
        return [*words, "--web", f"127.0.0.1:{self.port}"]

    def collect(self) -> int:
        """How many masks came so far."""
        for path in self.masks.glob("*.png"):
            path.unlink()
            self.masks_seen += 1
        return self.masks_seen

    def read(self, pipe: IO[bytes]) -> None:
        """Standard output, which is empty here."""
        while pipe.read(1 << 20):
            pass

    def counts(self) -> dict[str, int]:
        """How many frames each of the files holds, after the end."""
        self.collect()
        return {"masks": self.masks_seen, "lines": count_lines(self.lines), "pictures": count_packets(self.video)}


class Streams:
    """The outputs of which one run has but one kind: masks as a video, pictures to standard output, the recorder."""

    def __init__(self, folder: Path) -> None:
        self.masks, self.recording = folder / "masks.mkv", folder / "recording"
        self.port = free_port()
        self._bytes = 0

    @property
    def words(self) -> list[str]:
        """On the command line. The page is there to be looked at, as in the other run."""
        words = ["--masks", str(self.masks), "--save", "-", "--record", str(self.recording), "--background", "blur"]
        return [*words, "--web", f"127.0.0.1:{self.port}"]

    def collect(self) -> int:
        """How many pictures came so far."""
        width, height = map(int, SOURCE.partition(":")[2].split("x"))
        return self._bytes // (3 * width * height)

    def read(self, pipe: IO[bytes]) -> None:
        """Standard output: pictures as bare bytes."""
        while block := os.read(pipe.fileno(), 1 << 20):
            self._bytes += len(block)

    def counts(self) -> dict[str, int]:
        """How many frames each of them got, after the end."""
        recorded = sum(count_packets(path) for path in self.recording.glob("*.mkv"))
        return {"masks": count_packets(self.masks), "pictures": self.collect(), "recorded": recorded}


KINDS: dict[str, type[Outputs] | type[Streams]] = {"files": Outputs, "streams": Streams}


def count_lines(path: Path) -> int:
    """Lines of a file."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


def count_packets(path: Path) -> int:
    """Pictures of a video, without decoding them."""
    import av

    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
