"""Label maps of the clip that ships, made on two architectures and compared; run by tests/aarch64.sh.

python tests/aarch64_frames.py write OUT.npz [FRAMES.npz]      with the frames that another one decoded
python tests/aarch64_frames.py compare ONE.npz OTHER.npz       exit status 1 where too few pixels are equal

Both segment the same frames with the same version of ONNX Runtime: decoders turn YUV to BGR by each processor's own
arithmetic, a level apart in half of the bytes, and that is told for itself.
"""

from __future__ import annotations

import platform
import sys

import numpy as np

# Shares of pixels. In int8 a sum that is rounded the other way grows over fifty layers; processors without instructions
# for it (VNNI) compute it less exactly still.
AT_LEAST = {"fp32": 0.999, "int8": 0.998}
MOST_LEVELS = 1  # of 255, between what two processors decode
FRAMES = 4
EVERY = 12  # the clip's neighbours are all alike


def main() -> int:
    """One of the two."""
    word, *paths = sys.argv[1:]
    return write(*paths) if word == "write" else compare(*paths)


def write(path: str, decoded: str = "") -> int:
    """Segment with ONNX Runtime, in both precisions: uint8 label maps at the clip's own size.

    Args:
        path: where they go, with the frames that were decoded here.
        decoded: the file whose frames are segmented instead of those.
    """
    import edgeseg
    from edgeseg.runtime.sources import open_source

    with open_source("demo", max_frames=FRAMES * EVERY) as source:
        here = np.stack([frame.image.copy() for frame in source][::EVERY])
    images, maps = here, {}
    if decoded:
        with np.load(decoded) as other:
            images = other["frames"]
    for precision in AT_LEAST:
        with edgeseg.load("person", backend="onnxruntime", precision=precision) as segmenter:
            maps[precision] = np.stack([segmenter(image).label_map for image in images])
    np.savez_compressed(path, machine=platform.machine(), frames=here, **maps)
    return 0


def compare(one: str, other: str) -> int:
    """Print how far apart the decoded frames are, and the share of equal pixels in each precision."""
    with np.load(one) as first, np.load(other) as second:
        machines = f"{first['machine']} and {second['machine']}"
        levels = int(np.abs(first["frames"].astype(np.int16) - second["frames"]).max())
        print(f"{machines}: decoded frames differ by at most {levels} of 255")
        wrong = levels > MOST_LEVELS
        for precision in AT_LEAST:
            same, person = float(np.mean(first[precision] == second[precision])), float(np.mean(first[precision] == 1))
            print(
                f"{machines}, {precision}: {100 * same:.4f} % of {first[precision].size} pixels are equal "
                f"in {len(first[precision])} frames, {100 * person:.1f} % of them person"
            )
            wrong |= same < AT_LEAST[precision] or not 0.01 < person < 0.99
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
