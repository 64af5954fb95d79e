"""The mean of several checkpoints of one network, as a checkpoint.

    python recipes/average.py runs/mean/last.pt runs/first/last.pt runs/second/last.pt [...]

Runs that went on from each other lie in one basin, and the mean of their weights is often better than each of them
(Wortsman et al. 2022, "Model soups"). Everything else, int8's scales among it, is the last one's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

MEANS = ("network", "ema")


def main() -> int:
    """Read, average, write aside and rename."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    args = parser.parse_args()
    if args.out in args.checkpoints:
        parser.error(f"the output is one of the checkpoints: {args.out}")
    each = [torch.load(path, map_location="cpu", weights_only=True) for path in args.checkpoints]
    for path, one in zip(args.checkpoints, each, strict=True):
        if shapes(one) != shapes(each[-1]):
            print(f"error: not the same network: {path}. Give checkpoints of one recipe", file=sys.stderr)
            return 4
    made = each[-1] | {part: mean([one[part] for one in each]) for part in MEANS}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    aside = args.out.with_suffix(".part")
    torch.save(made, aside)
    aside.replace(args.out)
    return 0


def shapes(checkpoint: dict[str, Any]) -> dict[str, torch.Size]:
    """Size of each tensor of the network, by name."""
    return {name: value.shape for name, value in checkpoint["network"].items()}


def mean(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Tensors that are no counts averaged, by name; the rest as in the last part."""
    floats = {name for name, value in parts[-1].items() if value.is_floating_point()}
    return {
        name: torch.stack([part[name].double() for part in parts]).mean(0).to(value.dtype) if name in floats else value
        for name, value in parts[-1].items()
    }


if __name__ == "__main__":
    sys.exit(main())
