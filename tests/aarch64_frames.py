"""Label maps of the clip that ships, made on two architectures and compared; run by tests/aarch64.sh.

python tests/aarch64_frames.py write OUT.npz
python tests/aarch64_frames.py compare ONE.npz OTHER.npz      exit status 1 where too few pixels are equal
"""

from __future__ import annotations

import platform
import sys

import numpy as np

# Shares of pixels. ONNX Runtime's int8 kernels differ by processor: two of its versions on one give 99.92 %.
AT_LEAST = {"fp32": 0.999, "int8": 0.995}
FRAMES = 4
EVERY = 12  # the clip's neighbours are all alike


def main() -> int:
    """One of the two."""
    word, *paths = sys.argv[1:]
    return write(paths[0]) if word == "write" else compare(*paths)


def write(path: str) -> int:
    """Segment with ONNX Runtime, in both precisions: uint8 label maps at the clip's own size."""
    import edgeseg
    from edgeseg.runtime.sources import open_source

    with open_source("demo", max_frames=FRAMES * EVERY) as source:
        images = [frame.image.copy() for frame in source][::EVERY]
    maps = {}
    for precision in AT_LEAST:
        with edgeseg.load("person", backend="onnxruntime", precision=precision) as segmenter:
            maps[precision] = np.stack([segmenter(image).label_map for image in images])
    np.savez_compressed(path, machine=platform.machine(), **maps)
    return 0


def compare(one: str, other: str) -> int:
    """Print the share of equal pixels in each precision."""
    with np.load(one) as first, np.load(other) as second:
        machines, wrong = f"{first['machine']} and {second['machine']}", 0
        for precision in AT_LEAST:
            same, person = float(np.mean(first[precision] == second[precision])), float(np.mean(first[precision] == 1))
            print(
                f"{machines}, {precision}: {100 * same:.4f} % of {first[precision].size} pixels are equal "
                f"in {len(first[precision])} frames, {100 * person:.1f} % of them person"
            )
            wrong += same < AT_LEAST[precision] or not 0.01 < person < 0.99
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
