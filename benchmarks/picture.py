"""The picture at the top of README: two frames of the clip that ships, with the overlay of `person`.

python benchmarks/picture.py [--frames 40 130] [--out docs/demo.jpg]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from edgeseg.runtime.segmenter import open_segmenter
from edgeseg.runtime.sources import open_source


def main() -> None:
    """Segment the frames, put them side by side, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[40, 130])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "demo.jpg")
    args = parser.parse_args()
    # One backend on every machine, so that the picture comes out the same.
    with open_segmenter("person", "onnxruntime", "fp32") as segmenter, open_source("demo") as clip:
        shown = [segmenter(frame).overlay() for frame in clip if frame.number in args.frames]
    cv2.imwrite(str(args.out), np.hstack(shown), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
