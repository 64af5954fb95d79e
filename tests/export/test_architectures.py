"""Every kind of network goes the whole way: ONNX file, back into torch, int8, on the runtimes that take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from export_helpers import lively, run_onnxruntime, run_openvino, run_reference
from torch import nn

from edgeseg.calib.calibrate import calibrate
from edgeseg.calib.model_file import read_model
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map, load_for_export
from edgeseg.export.plugin_graph import for_plugin
from edgeseg.export.quantize import quantize
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import Manifest
from edgeseg.models import build

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("deeplabv3plus_efficientnet_lite0", {"ratio": [0.1] * 7, "stem": 8, "width": 16, "skip": 8}),
    ("deeplabv3plus_mobilenet_v2", {"output_stride": 8, "width": 16, "skip": 8, "multiplier": 0.25}),
    ("unet_lite", {"encoder": "mobilenet_v3_small", "decoder": [16, 8, 8], "multiplier": 0.5}),
    ("unet_lite", {"encoder": "resnet18", "decoder": [16, 8]}),
    ("unet_lite", {"encoder": "small", "width": 0.5}),
]


def center(model: nn.Module) -> None:
    """Random logits differ most by their mean; without it each class wins somewhere."""
    with torch.no_grad():
        means = model(torch.randn(4, 3, 64, 96)).mean(dim=(0, 2, 3))
        model.head.bias -= means.repeat_interleave(len(model.head.bias) // len(means))  # type: ignore[operator, arg-type, union-attr]


@pytest.mark.parametrize(("name", "arguments"), KINDS)
def test_export_and_back_and_int8(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    names = ["sky", "road", "tree"]
    model = lively(build(name, classes=3, **arguments))
    center(model)
    manifest = Manifest("toy", class_map(names), 40, 56, architecture={"name": name, "args": arguments})
    # Compares the file with torch on its own.
    assert export_onnx(model, manifest, tmp_path / "inline.onnx", inline=True).label_agreement > 0.999
    export_onnx(model, manifest, tmp_path / "model.onnx")
    back, _ = load_for_export(tmp_path / "model.onnx")
    x = torch.randn(1, 3, 64, 96)
    wanted = model(x).detach()
    torch.testing.assert_close(back(x), wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))

    pictures = np.stack(sample_pictures(40, 56))
    (tmp_path / "frames").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), picture)
    ranges = calibrate(tmp_path / "model.onnx", tmp_path / "frames")
    quantize(tmp_path / "model.onnx", ranges, tmp_path / "int8.onnx")
    feeds = {"image": pictures[:1]}
    plain, int8 = (read_model(tmp_path / f"{kind}.onnx")[0] for kind in ("inline", "int8"))
    truth = run_reference(plain, feeds)["label_map"]
    assert len(np.unique(truth)) > 1
    assert (run_onnxruntime(plain, feeds)["label_map"] == truth).mean() > 0.999
    assert (run_openvino(plain, feeds)["label_map"] == truth).mean() > 0.999
    reference = run_reference(int8, feeds)["label_map"]
    # Random weights give thin margins, so one rounded step may turn a label.
    assert (run_onnxruntime(int8, feeds)["label_map"] == reference).mean() > 0.9
    assert (reference == truth).mean() > 0.8
    if name.startswith("deeplab"):
        # The fused step and the label map; int8 files upsample floats, too.
        assert for_plugin(int8) == 2 and not any(node.op_type in ("Resize", "ArgMax") for node in int8.graph.node)
