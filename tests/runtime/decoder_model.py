"""A model of two convolutions around the decoder's fused step, whose body is a function inside the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.types import ClassInfo


def write_decoder_model(path: Path, height: int = 24, width: int = 40, seed: int = 0) -> Path:
    """Write the model with edgeseg's contract, uint8 [N, height, width, 3] in; even sizes. About 5 KB."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    from edgeseg.export import fused_step

    rng = np.random.default_rng(seed)
    weights = {
        "deep.weight": rng.normal(0, 0.02, (4, 3, 3, 3)).astype(np.float32),
        "skip.weight": rng.normal(0, 0.02, (2, 3, 3, 3)).astype(np.float32),
        "head.weight": rng.normal(0, 0.5, (1, 6, 1, 1)).astype(np.float32),
        "mean": np.float32(127.5),
        "c127": np.float32(127),
        "c255": np.float32(255),
        "c0": np.float32(0),
        "c1": np.float32(1),
        "channel": np.array([1], np.int64),
    }

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs, [output], name=output, **attributes)

    step = {"domain": "edgeseg", "scale": 2, "mode": "bilinear", **fused_step.PLUGIN}
    nodes = [
        node("Cast", ["image"], "float", to=TensorProto.FLOAT),
        node("Transpose", ["float"], "planes", perm=[0, 3, 1, 2]),
        node("Sub", ["planes", "mean"], "centred"),
        node("Conv", ["centred", "deep.weight"], "deep", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Conv", ["centred", "skip.weight"], "skip", kernel_shape=[3, 3], pads=[2, 2, 2, 2]),
        node(fused_step.OP_TYPE, ["deep", "skip"], "fused", **step),
        node("Conv", ["fused", "head.weight"], "logits", kernel_shape=[1, 1]),
        node("Sigmoid", ["logits"], "share"),
        node("Mul", ["share", "c255"], "scaled"),
        node("Round", ["scaled"], "round"),
        node("Squeeze", ["round", "channel"], "levels"),
        node("Cast", ["levels"], "probability", to=TensorProto.UINT8),
        node("Sub", ["levels", "c127"], "above"),
        node("Clip", ["above", "c0", "c1"], "label"),
        node("Cast", ["label"], "label_map", to=TensorProto.UINT8),
    ]
    size = ["N", height, width]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, size) for name in ("label_map", "probability")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 19), helper.make_opsetid(fused_step.DOMAIN, 1)],
        ir_version=10,
        functions=[fused_step.function()],
    )
    classes = (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60)))
    manifest = Manifest("decoder", classes, height, width, outputs=("label_map", "probability"))
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    checker.check_model(model)
    save(model, path)
    return path
