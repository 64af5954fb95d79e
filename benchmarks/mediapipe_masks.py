"""Worker of quality.py, run by MediaPipe's own Python: reads folders from standard input, one a line.

Each folder holds frame.npy, uint8 [H, W, 3] BGR; its answer is mask.npy, uint8 [H, W], 1 where MediaPipe's
probability is at least 0.5, and the word `done`.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np


def main() -> None:
    """Answer until standard input ends."""
    network = mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=int(sys.argv[1]))
    for line in sys.stdin:
        folder = Path(line.strip())
        frame = np.load(folder / "frame.npy")
        mask = network.process(np.ascontiguousarray(frame[:, :, ::-1])).segmentation_mask
        np.save(folder / "mask.npy", (mask >= 0.5).astype(np.uint8))
        print("done", flush=True)


if __name__ == "__main__":
    main()
