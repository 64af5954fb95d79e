"""The U-Net of 2015, both ways up: its file crops, all runtimes give the same labels, TensorRT-RTX builds it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_helpers import lively, run_onnxruntime, run_openvino, run_reference

from edgeseg.calib.model_file import read_model
from edgeseg.export import fused_step
from edgeseg.export.build_engine import build_engine
from edgeseg.export.check import sample_pictures
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.to_onnx import export_onnx
from edgeseg.manifest import Manifest
from edgeseg.models import build

# A side loses 184 pixels: 204x220 gives 20x36.
HEIGHT, WIDTH, BORDER = 204, 220, 92


@pytest.fixture(scope="module", params=["transposed", "bilinear"])
def unet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Way up and file of a narrow one."""
    arguments: dict[str, Any] = {"width": 4, "up": request.param}
    model: Any = lively(build("unet", classes=3, **arguments))
    with torch.no_grad():  # random logits differ most by their mean; without it each class wins somewhere
        model.head.bias -= model(torch.randn(1, 3, HEIGHT, WIDTH)).mean(dim=(0, 2, 3))
    manifest = Manifest(
        "unet",
        class_map(["cell", "membrane", "void"]),
        HEIGHT,
        WIDTH,
        output_height=HEIGHT - 2 * BORDER,
        output_width=WIDTH - 2 * BORDER,
        offset=(BORDER, BORDER),
        architecture={"name": "unet", "args": arguments},
    )
    path = tmp_path_factory.mktemp("unet") / "model.onnx"
    export_onnx(model, manifest, path)
    return request.param, path


def test_every_runtime_gives_the_same_labels(unet: tuple[str, Path]) -> None:
    up, path = unet
    model, _ = read_model(path)
    steps = [node for node in model.graph.node if node.op_type == fused_step.OP_TYPE]
    assert len(steps) == 4, "each joins with a skip that is larger"
    assert sum(node.op_type == "ConvTranspose" for node in model.graph.node) == (4 if up == "transposed" else 0)
    feeds = {"image": sample_pictures(HEIGHT, WIDTH)[3][None]}
    labels = run_onnxruntime(model, feeds)["label_map"]
    assert labels.shape == (1, HEIGHT - 2 * BORDER, WIDTH - 2 * BORDER) and len(np.unique(labels)) > 1
    for other in (run_openvino(fused_step.inline(model), feeds), run_reference(model, feeds)):
        np.testing.assert_array_equal(other["label_map"], labels)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_tensorrt_rtx_builds_it(unet: tuple[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "unet.engine"
    made = build_engine(unet[1], out, "tensorrt-rtx", "fp16")
    assert made.origin["engine"]["bytes"] == out.stat().st_size > 10_000
    assert (made.output_height, made.output_width, made.offset) == (20, 36, (BORDER, BORDER))
