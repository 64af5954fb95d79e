"""Files of one person model side by side on what nothing was trained on and no test holds: which of several to ship.

    python recipes/judge.py runs/one/model.onnx runs/two/model.onnx [...] --data ../shared

IoU of people, mean over pictures: on the validation splits as they are, and on scenes composed of them with a fixed
seed, with people pasted into them, or with things in front of people. Of such scenes only the order counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg import metrics
from edgeseg.cli.output import table
from edgeseg.data.pool import Pool, SetConfig
from edgeseg.data.scenes import Pair, SceneMaker, Scenes
from edgeseg.errors import EdgeSegError
from edgeseg.runtime.segmenter import Segmenter, open_segmenter

# As the recipe holds them back.
SPLITS = {
    "portraits": SetConfig("data/portraits-eg1800", split="val", weight=0.2, cutouts=True),
    "whole figures": SetConfig("data/person-ccp", part="0/17", weight=0.5, cutouts=True, feet=True),
}
# Streets to put people into.
STREETS = SetConfig("data/camvid", split="val", labels={9: 1, 10: 255, 11: 255}, other=0, weight=0.3)
COMPOSED = {
    "pasted": Scenes(paste=1.0, people=2, tilt_deg=20.0, decoy=0.2),
    "pasted, covered": Scenes(paste=1.0, people=1, tilt_deg=20.0, decoy=0.0, occlude=1.0),
    "covered": Scenes(occlude=1.0),
}
SIZE, SEED, LEAST = (256, 256), 5, 0.01


def main() -> int:
    """Compose, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.onnx")
    parser.add_argument("--data", type=Path, required=True, help="the folder that the sets' paths start from")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--scenes", type=int, default=250, help="of each kind")
    args = parser.parse_args()
    try:
        pools = {name: Pool(args.data, config, classes=2) for name, config in SPLITS.items()}
        sets: dict[str, Sequence[Pair]] = {name: [pool[k] for k in range(len(pool))] for name, pool in pools.items()}
        maker_pools = [*pools.values(), Pool(args.data, STREETS, classes=2)]
        sets |= {name: scenes(SceneMaker(maker_pools, config), args.scenes) for name, config in COMPOSED.items()}
        rows = []
        for path in args.files:
            with open_segmenter(path, args.backend) as segmenter:
                rows.append([str(path), *(f"{100 * iou(segmenter, pairs):.2f}" for pairs in sets.values())])
    except EdgeSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(table(["IoU in %", *sets], rows))
    return 0


def scenes(maker: SceneMaker, count: int) -> list[Pair]:
    """The first that show enough of people, so that a few pixels do not decide."""
    rng = np.random.default_rng(SEED)
    made: list[Pair] = []
    while len(made) < count:
        image, mask = maker(rng, SIZE)
        if (mask == 1).mean() >= LEAST:
            made.append((image, mask))
    return made


def iou(segmenter: Segmenter, pairs: Sequence[Pair]) -> float:
    """Mean over pictures."""
    found = [metrics.confusion_matrix(mask, segmenter(image).label_map, 2) for image, mask in pairs]
    return float(np.mean([metrics.foreground_iou(each) for each in found]))


if __name__ == "__main__":
    sys.exit(main())
