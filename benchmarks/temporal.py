"""How much steadier smoothing makes masks of video, and what it costs in IoU.

    python benchmarks/temporal.py            writes benchmarks/results/temporal.json, prints the tables

On davis-dev: kite-surf whole, dance-twirl in the box around the dancer, grown by a quarter, since the audience beside
her is not labelled. Flicker is the share of pixels whose label changes between neighbouring frames where the truth's
does not. IoU is the mean over frames; VC8 and VC16 (Miao et al. 2021) are the mean over all runs of 8 and 16 frames.
The numbers of `steady` are chosen on kite-surf alone, from the grid below. Exit code 5 where it misses a limit on
either sequence.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import tell, write_result

from edgeseg import metrics
from edgeseg.cli.output import table
from edgeseg.data.masks import read_image, read_mask
from edgeseg.data.shared import shared_root
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.motion import CUT, Gray, Motion, gray_of, scene_distance
from edgeseg.runtime.segmenter import Segmenter, open_segmenter
from edgeseg.runtime.temporal import STEADY, Smoother
from edgeseg.runtime.tiling import Tiling
from edgeseg.types import LabelMap, Probability

SEQUENCES = ("kite-surf", "dance-twirl")
CHOSEN_ON = "kite-surf"
METHODS = (
    "exponential:0.3",
    "exponential:0.7",
    "exponential:0.6+flow",
    "uncertainty:0.3",
    "uncertainty:0.7",
    "uncertainty:0.9+flow",
    "exponential:0.6+hold",
    STEADY,
)
# What is wanted: flicker down by at least this share, mean IoU down by at most this.
LESS_FLICKER, LESS_IOU = 0.3, 0.001
WINDOWS = (8, 16)
COLUMNS = ("% less flicker", "IoU points", *(f"VC{window}, %" for window in WINDOWS))
STRENGTHS = (0.5, 0.6, 0.7)
HOLDS = ((0.1, 0.1), (0.15, 0.05), (0.15, 0.1))


@dataclass(frozen=True, slots=True)
class Clip:
    """One annotated sequence and what the model says of it, frame by frame."""

    name: str
    truths: list[LabelMap]
    probabilities: list[Probability]
    grays: list[Gray]
    geometry: Geometry | Tiling


def read_sequence(name: str, segmenter: Segmenter) -> Clip:
    """Read it, and run the model once."""
    folder = shared_root() / "data" / "davis-dev" / name
    truths, probabilities, grays = [], [], []
    for path in sorted((folder / "images").glob("*.jpg")):
        truths.append(truth_of(folder / "masks" / f"{path.stem}.png", whole=name == "kite-surf"))
        image, geometry = segmenter.preprocess(read_image(path))
        grays.append(gray_of(image))
        probabilities.append(segmenter.infer(image)["probability"])
    return Clip(name, truths, probabilities, grays, geometry)


def truth_of(path: Path, whole: bool) -> LabelMap:
    """1 the object, 0 not, 255 not scored: outside of the box around the object, grown by a quarter of its side."""
    mask = read_mask(path)
    if whole:
        return mask
    truth = np.full_like(mask, 255)
    x, y, width, height = cv2.boundingRect(mask)
    pad = max(width, height) // 4
    window = slice(max(0, y - pad), y + height + pad), slice(max(0, x - pad), x + width + pad)
    truth[window] = mask[window]
    return truth


def label_maps(sequence: Clip, segmenter: Segmenter, smoother: Smoother | None) -> list[LabelMap]:
    """The sequence's label maps at the size of its frames."""
    maps = []
    for probability, gray in zip(sequence.probabilities, sequence.grays, strict=True):
        smoothed = smoother(probability, gray) if smoother else probability
        maps.append(segmenter.postprocess({"probability": smoothed}, sequence.geometry).label_map)
    return maps


def score(maps: Sequence[LabelMap], truths: Sequence[LabelMap]) -> dict[str, float]:
    """Flicker with its number of pixels, the mean IoU with its number of frames, and video consistency."""
    pairs = zip(truths, truths[1:], strict=False)
    # Of two classes the foreground's alone, and so without a confusion matrix, which takes most of the time.
    scored = [(t == 1, (m == 1) & (t != 255)) for t, m in zip(truths, maps, strict=True)]
    ious = [np.count_nonzero(t & m) / max(1, np.count_nonzero(t | m)) for t, m in scored]
    return {
        "flicker": metrics.flicker_rate(maps, truths),
        "pixels": float(sum(int(((a == b) & (b != 255)).sum()) for a, b in pairs)),
        "iou": float(np.mean(ious)),
        "frames": float(len(maps)),
        **{f"vc{window}": metrics.video_consistency(truths, maps, window) for window in WINDOWS},
    }


def together(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Several sequences as one: all their pixels, all their frames, all their runs of frames."""
    pixels, frames = (sum(one[key] for one in each) for key in ("pixels", "frames"))
    return {
        "flicker": sum(one["flicker"] * one["pixels"] for one in each) / pixels,
        "pixels": pixels,
        "iou": sum(one["iou"] * one["frames"] for one in each) / frames,
        "frames": frames,
        **{f"vc{window}": _over_runs(each, window) for window in WINDOWS},
    }


def _over_runs(each: Sequence[dict[str, float]], window: int) -> float:
    runs = [one["frames"] - window + 1 for one in each]
    return sum(one[f"vc{window}"] * count for one, count in zip(each, runs, strict=True)) / sum(runs)


def against(found: dict[str, float], off: dict[str, float]) -> dict[str, float]:
    """The figures that are written: rates, and what changed against no smoothing."""
    return {
        "flicker_percent": round(100 * found["flicker"], 4),
        "less_flicker_percent": round(100 * (1 - found["flicker"] / off["flicker"]), 2),
        "iou": round(found["iou"], 5),
        "iou_change": round(found["iou"] - off["iou"], 5),
        **{f"vc{window}": round(found[f"vc{window}"], 5) for window in WINDOWS},
    }


def flicker_of_motion(sequence: Clip, segmenter: Segmenter) -> float:
    """Share of the flicker that masks would have which only move with the picture: each frame's, moved by the flow."""
    motion, changed, counted = Motion(), 0.0, 0
    for k in range(1, len(sequence.grays)):
        origins = motion.between(sequence.grays[k - 1], sequence.grays[k])
        moved = np.round(motion.moved(sequence.probabilities[k - 1][0].astype(np.float32), origins))
        both = [sequence.probabilities[k - 1], moved.astype(np.uint8)[None]]
        maps = [segmenter.postprocess({"probability": one}, sequence.geometry).label_map for one in both]
        truths = sequence.truths[k - 1 : k + 1]
        counts = int(((truths[0] == truths[1]) & (truths[1] != 255)).sum())
        changed, counted = changed + metrics.flicker_rate(maps, truths) * counts, counted + counts
    off = metrics.flicker_rate(label_maps(sequence, segmenter, None), sequence.truths)
    return changed / counted / off


def choose(sequence: Clip, segmenter: Segmenter) -> dict[str, Any]:
    """The grid on one sequence: of what makes flicker as little as is wanted, what has the highest IoU."""
    off = score(label_maps(sequence, segmenter, None), sequence.truths)
    pairs = list(product(STRENGTHS, HOLDS))

    def one(pair: tuple[float, tuple[float, float]]) -> dict[str, float]:
        smoother = Smoother("exponential", pair[0], True, pair[1], segmenter.threshold)
        return against(score(label_maps(sequence, segmenter, smoother), sequence.truths), off)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, pairs))
    rows = [{"strength": pair[0], "hold": pair[1], **figures} for pair, figures in zip(pairs, found, strict=True)]
    good = [row for row in rows if row["less_flicker_percent"] >= 100 * LESS_FLICKER]
    return {"chosen_on": sequence.name, "best": max(good, key=lambda row: row["iou_change"]), "grid": rows}


def scenes(sequences: Sequence[Clip]) -> dict[str, float]:
    """What the limit for cuts lies between: neighbours within the sequences, and pictures across them."""
    within = [scene_distance(a, b) for one in sequences for a, b in zip(one.grays, one.grays[1:], strict=False)]
    across = [scene_distance(a, b) for a in sequences[0].grays[::5] for b in sequences[1].grays[::5]]
    return {"limit": CUT, "most_within": round(max(within), 2), "least_across": round(min(across), 2)}


def measured(words: str | None, sequences: Sequence[Clip], segmenter: Segmenter) -> list[dict[str, float]]:
    """`score` of each sequence, smoothed as on the command line."""

    def one(sequence: Clip) -> dict[str, float]:
        smoother = Smoother.parse(words, segmenter.threshold) if words else None
        return score(label_maps(sequence, segmenter, smoother), sequence.truths)

    found = [one(sequence) for sequence in sequences]
    tell(f"{words}: {found}")
    return found


def compared(found: Sequence[dict[str, float]], off: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """`against` no smoothing, by the sequence's name and for both."""
    each = {name: against(*pair) for name, *pair in zip(SEQUENCES, found, off, strict=True)}
    return each | {"both": against(together(found), together(off))}


def cells(figures: dict[str, float]) -> list[float]:
    """What the printed table shows of `against`, in the order of `COLUMNS`."""
    shares = (figures["iou_change"], *(figures[f"vc{window}"] for window in WINDOWS))
    return [figures["less_flicker_percent"], *(100 * share for share in shares)]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="person")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", default="temporal", help="name of the result file")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with open_segmenter(args.model, args.backend, args.precision) as segmenter:
        sequences = [read_sequence(name, segmenter) for name in SEQUENCES]
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda words: measured(words, sequences, segmenter), (None, *METHODS)))
        rows = {words or "off": compared(own, found[0]) for words, own in zip((None, *METHODS), found, strict=True)}
        moved = {one.name: round(100 * flicker_of_motion(one, segmenter), 1) for one in sequences}
        chosen = choose(sequences[SEQUENCES.index(CHOSEN_ON)], segmenter)
    header = (
        "method",
        *(f"{name}: {key}" for name in (*SEQUENCES, "both") for key in COLUMNS),
    )
    lines = [(name, *(cell for each in own.values() for cell in cells(each))) for name, own in rows.items()]
    print(table(header, lines))
    kept = {"model": args.model, "backend": args.backend, "precision": args.precision}
    limits = {"less_flicker_percent": 100 * LESS_FLICKER, "iou_change": -LESS_IOU}
    about = {**kept, "steady": STEADY, "limits": limits, "flicker_of_motion_percent": moved, "cuts": scenes(sequences)}
    note = "The kind of method was settled by looking at both sequences, its numbers on the one named here alone."
    write_result(args.out, {**about, "rows": rows, "choice": {"note": note, **chosen}})
    steady = rows[STEADY].values()
    kept_limits = all(
        one["less_flicker_percent"] >= 100 * LESS_FLICKER and one["iou_change"] >= -LESS_IOU for one in steady
    )
    return 0 if kept_limits else 5


if __name__ == "__main__":
    sys.exit(main())
