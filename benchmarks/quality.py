"""How well the shipped models find people, beside MediaPipe's selfie networks on the same pictures.

    python benchmarks/quality.py [--mediapipe PYTHON] [--json benchmarks/results/quality.json]

Scored: the test part of portraits-eg1800, the val parts of person-ccp and pennfudan, two DAVIS sequences, and the
intervals of walking-person.mp4 in which nobody is in view. Nothing was trained or selected on any of them.
MediaPipe runs in an environment of its own (`--mediapipe`, its Python), since its dependencies differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import revision

from edgeseg import metrics
from edgeseg.cli.output import write_json
from edgeseg.data.folder import list_samples, read_pair
from edgeseg.data.masks import read_image, read_mask
from edgeseg.data.shared import shared_root
from edgeseg.machine import describe
from edgeseg.runtime.backends import usable
from edgeseg.runtime.segmenter import open_segmenter
from edgeseg.runtime.sources import open_source
from edgeseg.types import Image, LabelMap

SETS = (("portraits-eg1800", "test"), ("person-ccp", "val"), ("pennfudan", "val"))
CLIP, CLIP_FPS = "walking-person.mp4", 10.0
# From the clip's README; half a second is left out at either end.
NOBODY_S = ((0, 6), (19, 22), (45, 50), (70, 74), (87, 92), (119, 123), (136, 139))
MARGIN_S = 0.5
Segment = Callable[[Image], LabelMap]
Pictures = dict[str, list[tuple[Image, LabelMap | None]]]


def load_pictures(root: Path) -> Pictures:
    """All pictures with their truth (1 person, 0 not, 255 not scored; None: nobody in view), by the set's name."""
    pictures: Pictures = {}
    for name, split in SETS:
        pairs = [
            (image, (mask > 0).astype(np.uint8))
            for image, mask in map(read_pair, list_samples(root / "data" / name, split))
        ]
        pictures[f"{name} {split}"] = list(pairs)
    # The dancer's audience is not labelled: only what lies inside her mask counts.
    pictures["davis dance-twirl (recall)"] = list(_davis(root, "dance-twirl", recall=True))
    pictures["davis kite-surf (box)"] = list(_davis(root, "kite-surf", recall=False))
    with open_source(str(root / "clips" / CLIP)) as clip:
        inside = [(first + MARGIN_S, last - MARGIN_S) for first, last in NOBODY_S]
        pictures["nobody in view"] = [
            (frame.image, None) for frame in clip if any(a <= frame.number / CLIP_FPS <= b for a, b in inside)
        ]
    return pictures


def _davis(root: Path, sequence: str, recall: bool) -> Iterator[tuple[Image, LabelMap]]:
    folder = root / "data" / "davis-dev" / sequence
    for path in sorted((folder / "images").glob("*.jpg")):
        mask = read_mask(folder / "masks" / f"{path.stem}.png")
        truth = np.full_like(mask, 255)
        if recall:
            truth[mask == 1] = 1
        else:
            x, y, width, height = cv2.boundingRect(mask)
            pad = max(width, height) // 4
            window = slice(max(0, y - pad), y + height + pad), slice(max(0, x - pad), x + width + pad)
            truth[window] = mask[window]
        yield read_image(path), truth


def score(segment: Segment, pictures: Pictures) -> dict[str, Any]:
    """Mean over pictures of the person's IoU for each set; for empty frames the shares of pixels called person."""
    figures: dict[str, Any] = {}
    for name, pairs in pictures.items():
        if name == "nobody in view":
            shares = [100.0 * float(np.mean(segment(image) == 1)) for image, _ in pairs]
            figures[name] = {
                "frames": len(shares),
                "mean_percent": round(float(np.mean(shares)), 4),
                "max_percent": round(max(shares), 4),
            }
            continue
        values = [
            metrics.foreground_iou(metrics.confusion_matrix(truth, segment(image), 2))
            for image, truth in pairs
            if truth is not None
        ]
        figures[name] = {
            "images": len(values),
            "person_iou": round(float(np.mean(values)), 5),
            "p5": round(float(np.percentile(values, 5)), 5),
        }
    return figures


class MediaPipe:
    """MediaPipe's network in its own process: pictures go in by file, masks come back by file."""

    def __init__(self, python: str, selection: int, folder: Path) -> None:
        worker = Path(__file__).with_name("mediapipe_masks.py")
        self.folder = folder
        self.process = subprocess.Popen(
            [python, str(worker), str(selection)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, image: Image) -> LabelMap:
        assert self.process.stdin
        assert self.process.stdout
        np.save(self.folder / "frame.npy", image)
        self.process.stdin.write(f"{self.folder}\n")
        self.process.stdin.flush()
        if self.process.stdout.readline().strip() != "done":
            raise SystemExit("error: MediaPipe's worker ended early. Run benchmarks/mediapipe_masks.py by hand.")
        mask: LabelMap = np.load(self.folder / "mask.npy")
        return mask

    def close(self) -> None:
        """End the worker."""
        self.process.communicate()


def main() -> int:
    """Score every shipped model, precision and backend, and MediaPipe where its Python is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe", metavar="PYTHON", help="Python of an environment with mediapipe==0.10.21")
    parser.add_argument("--models", nargs="+", default=["person", "person-landscape"])
    parser.add_argument("--backends", nargs="+", default=None)
    parser.add_argument("--json", default="benchmarks/results/quality.json")
    args = parser.parse_args()
    pictures = load_pictures(shared_root())
    rows: list[dict[str, Any]] = []
    for model in args.models:
        for backend in args.backends or usable():
            for precision in ("fp32", "int8"):
                with open_segmenter(model, backend, precision) as segmenter:
                    figures = score(lambda image: segmenter(image).label_map, pictures)
                rows.append({"model": model, "backend": backend, "precision": precision, "figures": figures})
                print(model, backend, precision, figures, file=sys.stderr)
    if args.mediapipe:
        for selection, name in ((0, "mediapipe general"), (1, "mediapipe landscape")):
            with tempfile.TemporaryDirectory() as folder:
                worker = MediaPipe(args.mediapipe, selection, Path(folder))
                rows.append(
                    {
                        "model": name,
                        "backend": "mediapipe 0.10.21",
                        "precision": "fp32",
                        "figures": score(worker, pictures),
                    }
                )
                worker.close()
            print(rows[-1], file=sys.stderr)
    write_json({"revision": revision(), "rows": rows, "machine": describe()}, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
