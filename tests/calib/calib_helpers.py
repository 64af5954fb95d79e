"""A model file with two convolutions and a fused step, written by hand: calibration needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from edgeseg.export import fused_step
from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.types import ClassInfo

SIZE = 16


def write_model(path: Path, gain: float = 1.0, **fields: Any) -> Path:
    """image uint8 [N, 16, 16, 3] -> mean over 2x2 and colours, times `gain` -> step with the picture -> label_map."""
    classes = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "bright", (0, 255, 0)))
    manifest = Manifest("toy", classes, SIZE, SIZE, **fields)
    average = np.full((1, 3, 2, 2), gain / 12, np.float32)
    merge = np.zeros((2, 4, 1, 1), np.float32)
    merge[0], merge[1, 3] = 0.1, 1.0
    attributes = {"scale": 2, "mode": "bilinear", **fused_step.PLUGIN}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "average"], ["small"], "average", strides=[2, 2]),
        helper.make_node(fused_step.OP_TYPE, ["small", "planes"], ["fused"], "step", domain="edgeseg", **attributes),
        helper.make_node("Conv", ["fused", "merge"], ["logits"], "merge"),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["label_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["label_float"], ["label_map"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("label_map", TensorProto.UINT8, ["N", SIZE, SIZE])],
        [numpy_helper.from_array(average, "average"), numpy_helper.from_array(merge, "merge")],
    )
    opsets = [helper.make_opsetid("", 19)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    fused_step.attach(model)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    save(model, path)
    return path
