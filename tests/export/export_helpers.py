"""What the export tests share beside fixtures: networks with lively weights, and three runtimes with one signature."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from edgeseg.manifest import Manifest
from edgeseg.models import build_instance

ARGUMENTS: dict[str, Any] = {"blocks": [1, 1, 1, 2, 1], "ratio": [0.2] * 7, "stem": 8, "decoder": [16, 8, 8]}


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small only lose by threads, a lot of it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Exported:
    """A network and its file."""

    model: nn.Module
    manifest: Manifest
    path: Path


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms as training leaves them, not as they are born: folding mistakes must show."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            nn.init.kaiming_uniform_(parameter, a=1, generator=generator)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            module.weight.data.uniform_(0.5, 2, generator=generator)
            module.bias.data.normal_(0, 0.5, generator=generator)
    return model.eval()


def run_onnxruntime(model: Any, feeds: dict[str, npt.NDArray[Any]], plain: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Outputs of an ONNX model (ModelProto) by ONNX Runtime; `plain` leaves its optimizer out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run_reference(model: Any, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The same by ONNX's own reference evaluator, in numpy."""
    from onnx.reference import ReferenceEvaluator

    names = [item.name for item in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, feeds), strict=True))


def run_openvino(model: Any, feeds: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The same by OpenVINO on the CPU in float32; the model must hold no functions."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU", hints)
    found = compiled(feeds)
    return {item.name: np.array(found[item.name]) for item in model.graph.output}


def instance_network() -> tuple[Any, dict[str, Any]]:
    """A small Mask R-CNN of three classes and its architecture.

    Random weights with the norms of a trained network; biases that start as zeros stay zeros.
    """
    small = {"width": 16, "hidden": 64, "mask_depth": 1, "blocks": [1] * 6, "ratio": [0.1] * 6, "stem": 8}
    arguments: dict[str, Any] = {**small, "proposals": 60, "max_detections": 20}
    torch.manual_seed(1)
    made: Any = build_instance("maskrcnn_efficientnet_lite0", classes=3, **arguments)
    lively(made.encoder)
    with torch.no_grad():
        made.detector.roi_heads.box_predictor.cls_score.weight.mul_(40.0)
    return made.eval(), {"name": "maskrcnn_efficientnet_lite0", "args": arguments}
