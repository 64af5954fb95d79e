"""Bias correction: every convolution gets back the mean that it has in float, and labels come nearer to float's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from export_helpers import Exported, run_reference

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.frames import FrameSet
from edgeseg.calib.model_file import read_model
from edgeseg.calib.tap import tap
from edgeseg.export.bias_correction import channel_means
from edgeseg.export.quantize import quantize


def test_means_come_back_and_the_answer_with_them(
    person: Exported, tmp_path: Path, pictures: npt.NDArray[np.uint8]
) -> None:
    import cv2

    (tmp_path / "frames").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), picture)
    ranges = calibrate(person.path, FrameSet(tmp_path / "frames"))
    inputs = [picture[None] for picture in pictures]
    # Equalized channels have means of their own, which are not those of the float file.
    quantize(person.path, ranges, tmp_path / "plain.onnx", equalize=False)
    quantize(person.path, ranges, tmp_path / "corrected.onnx", pictures=inputs, equalize=False)
    reference = read_model(person.path)[0]
    names = [node.output[0] for node in reference.graph.node if node.op_type == "Conv"]
    wanted = channel_means(reference, names, inputs)
    deviations = [values.std(axis=(0, 2, 3)) for values in tap(reference, names)(inputs[0])]
    errors = {}
    for kind in ("plain", "corrected"):
        model, manifest = read_model(tmp_path / f"{kind}.onnx")
        found = channel_means(model, names, inputs)
        errors[kind] = [
            float(np.abs(a - b).max() / d.mean()) for a, b, d in zip(wanted, found, deviations, strict=True)
        ]
        assert manifest.origin["quantization"]["biases_corrected_on"] == (0 if kind == "plain" else len(inputs))
    assert max(errors["corrected"]) < 0.02 < max(errors["plain"])
    truth = run_reference(reference, {"image": pictures})["probability"].astype(int)
    distance = {
        kind: np.abs(
            run_reference(read_model(tmp_path / f"{kind}.onnx")[0], {"image": pictures})["probability"] - truth
        )
        for kind in errors
    }
    assert distance["corrected"].mean() < distance["plain"].mean()
