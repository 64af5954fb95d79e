"""Writes the cases that the kernels are compared with, computed by the ONNX reference evaluator.

    python cpp_ext/tests/make_cases.py FOLDER

Each file is a row of cases (case_files.py), arrays in the type of the case, all NCHW.

FOLDER/upsample_crop_concat.bin, by the fused step's own function body: type, upsampling, scale, batch, deep channels,
rows, columns, skip channels, rows, columns; deep, skip, the expected output; one byte an output element: by how much
the answer may be off. Only int8 has other than 0 there, and only 1: where the step is no power of two, the evaluator's
floats decide ties by their own rounding errors.

FOLDER/label_map.bin, by Resize and ArgMax: type, scale, batch, classes, rows, columns; logits; the expected ids as
bytes; one byte an id: 1 where the best two logits are so close that rounding decides.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from case_files import case, write
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgeseg.export import fused_step

TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "int8": np.int8}
MODES = ("bilinear", "nearest")
# (batch, deep channels, rows, columns, skip channels, rows and columns of the skip beyond the upsampled map, scale)
SIZES = [
    (1, 1, 1, 1, 1, 0, 0, 2),
    (0, 3, 4, 5, 2, 0, 0, 2),  # no batch
    (2, 3, 0, 5, 2, 0, 0, 2),  # no rows
    (1, 0, 3, 2, 5, 1, 1, 2),  # no deep channels: the crop alone
    (1, 5, 3, 2, 0, 1, 1, 2),  # no skip channels: the upsampling alone
    (2, 3, 5, 7, 4, 1, 2, 2),
    (1, 7, 3, 9, 5, 2, 3, 2),
    (1, 8, 4, 8, 16, 0, 0, 2),  # packs of every type, nothing to cut
    (2, 16, 3, 5, 8, 3, 4, 2),
    (1, 16, 1, 8, 32, 5, 16, 2),  # the crop starts at a pack's border
    (1, 24, 8, 1, 8, 1, 0, 2),
    (1, 32, 3, 8, 32, 2, 1, 2),
    (2, 32, 2, 3, 64, 0, 5, 2),
    (1, 96, 3, 1, 32, 1, 1, 2),
    (1, 2, 28, 28, 3, 8, 8, 2),  # the first step of the 2015 U-Net, thin
    (1, 2, 2, 150, 3, 1, 10, 2),  # more than one block of threads a row
    (2, 8, 3, 4, 8, 1, 2, 1),
    (1, 5, 3, 4, 3, 1, 2, 3),
    (2, 16, 2, 3, 32, 0, 1, 3),
    (1, 32, 3, 2, 32, 3, 3, 3),
    (1, 16, 3, 4, 16, 2, 2, 4),
    (1, 32, 2, 2, 32, 1, 0, 5),
    (1, 3, 2, 3, 1, 4, 1, 8),
    (1, 1, 2, 1, 1, 0, 1, 31),
]


# (batch, classes, rows, columns, scale)
LABEL_SIZES = [
    (1, 1, 1, 1, 2),
    (0, 3, 4, 5, 2),  # no batch
    (2, 3, 0, 5, 2),  # no rows
    (1, 2, 5, 7, 1),  # ArgMax alone
    (2, 2, 7, 9, 4),
    (1, 19, 8, 16, 4),
    (1, 21, 3, 5, 8),
    (2, 5, 3, 4, 3),
    (1, 64, 2, 3, 2),
    (1, 32, 1, 6, 5),
    (1, 128, 2, 2, 2),
    (1, 8, 2, 80, 16),  # more than one block of threads
]


def main() -> None:
    """Write every size in every type and mode."""
    folder = Path(sys.argv[1])
    oracle = "the ONNX reference evaluator"
    steps = (make_cases(*one) for one in itertools.product(TYPES, MODES, SIZES))
    write(folder / "upsample_crop_concat.bin", itertools.chain.from_iterable(steps), oracle)
    write(folder / "label_map.bin", (make_labels(*one) for one in itertools.product(TYPES, LABEL_SIZES)), oracle)


def make_cases(name: str, mode: str, size: tuple[int, ...]) -> Iterator[bytes]:
    """One case, or two for int8: with a step that is a power of two, and with one that is not."""
    batch, deep_channels, rows, columns, skip_channels, more_rows, more_columns, scale = size
    skip_size = (rows * scale + more_rows, columns * scale + more_columns)
    rng = np.random.default_rng([*size, len(name)])
    shapes = ((batch, deep_channels, rows, columns), (batch, skip_channels, *skip_size))
    for step in (2**-4, 0.047) if name == "int8" else (1.0,):
        if name == "int8":
            deep, skip = (rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes)
            expected, slack = quantized(deep, skip, scale, mode, step)
        else:
            deep, skip = (rng.standard_normal(shape, np.float32).astype(TYPES[name]) for shape in shapes)
            expected = evaluate(deep.astype(np.float32), skip.astype(np.float32), scale, mode).astype(TYPES[name])
            slack = np.zeros(expected.shape, np.uint8)
        head = [list(TYPES).index(name), MODES.index(mode), scale, *shapes[0], *shapes[1][1:]]
        yield case(head, deep, skip, expected, slack)


def quantized(deep: Any, skip: Any, scale: int, mode: str, step: float) -> tuple[Any, Any]:
    """DequantizeLinear -> step -> QuantizeLinear of int8 tensors, and where its ties are not to be trusted."""
    numbers = evaluate(deep, skip, scale, mode, np.float32(step))
    expected = evaluate(deep, skip, scale, mode, np.float32(step), back=True)
    part = numbers / np.float32(step)
    near_a_tie = np.abs(np.abs(part - np.floor(part)) - 0.5) < 1e-4
    exact = np.log2(step) == round(np.log2(step)) and scale & (scale - 1) == 0
    return expected, (near_a_tie & (not exact)).astype(np.uint8)


def evaluate(deep: Any, skip: Any, scale: int, mode: str, step: Any = None, back: bool = False) -> Any:
    """The fused step of two NCHW arrays; with `step` from int8, and `back` to it."""
    if 0 in (deep.shape[0], deep.shape[2], deep.shape[3]):  # the evaluator cannot resize nothing
        shape = (deep.shape[0], deep.shape[1] + skip.shape[1], deep.shape[2] * scale, deep.shape[3] * scale)
        return np.zeros(shape, np.int8 if back else np.float32)
    if deep.shape[1] == 0 or skip.shape[1] == 0:
        # Nor an empty side: an added channel stands in for it and is cut off again.
        added = np.zeros((deep.shape[0], 1, *(deep if deep.shape[1] == 0 else skip).shape[2:]), deep.dtype)
        if deep.shape[1] == 0:
            return evaluate(added, skip, scale, mode, step, back)[:, :-1]
        return evaluate(deep, added, scale, mode, step, back)[:, 1:]
    feeds = {"deep": deep, "skip": skip} | ({} if step is None else {"step": step})
    return ReferenceEvaluator(make_model(scale, mode, step is not None, back)).run(None, feeds)[0]


def make_model(scale: int, mode: str, from_int8: bool, back: bool) -> ModelProto:
    """`deep`, `skip` -> `out` through one fused step and its function body."""
    kind = TensorProto.INT8 if from_int8 else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, kind, None) for name in ("deep", "skip")]
    nodes, names = [], ["deep", "skip"]
    if from_int8:
        inputs.append(helper.make_tensor_value_info("step", TensorProto.FLOAT, []))
        nodes = [helper.make_node("DequantizeLinear", [name, "step"], [f"{name}.float"]) for name in names]
        names = [f"{name}.float" for name in names]
    attributes = {"scale": scale, "mode": mode, **fused_step.PLUGIN}
    nodes.append(helper.make_node(fused_step.OP_TYPE, names, ["fused"], domain=fused_step.DOMAIN, **attributes))
    if back:
        zero = helper.make_tensor("zero", TensorProto.INT8, [], [0])
        nodes += [
            helper.make_node("Constant", [], ["zero"], value=zero),
            helper.make_node("QuantizeLinear", ["fused", "step", "zero"], ["out"]),
        ]
    out = helper.make_tensor_value_info(
        "out" if back else "fused", TensorProto.INT8 if back else TensorProto.FLOAT, None
    )
    graph = helper.make_graph(nodes, "step", inputs, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", fused_step.OPSET)], ir_version=10)
    fused_step.attach(model)
    return model


def make_labels(name: str, size: tuple[int, ...]) -> bytes:
    """One case of the label map."""
    batch, classes, rows, columns, scale = size
    rng = np.random.default_rng([*size, len(name)])
    shape = (batch, classes, rows, columns)
    if name == "int8":
        logits: Any = rng.integers(-128, 128, shape).astype(np.int8)
    else:
        logits = rng.standard_normal(shape, np.float32).astype(TYPES[name])
    ids = np.zeros((batch, rows * scale, columns * scale), np.uint8)
    close = np.zeros(ids.shape, np.uint8)
    if ids.size:
        numbers, found = ReferenceEvaluator(label_model(scale)).run(None, {"logits": logits.astype(np.float32)})
        best = np.sort(numbers, axis=1)[:, -2:]
        ids = found.astype(np.uint8)
        close = (best[:, -1] - best[:, 0] < 1e-4).astype(np.uint8) if classes > 1 else close
    return case([list(TYPES).index(name), scale, *shape], logits, ids, close)


def label_model(scale: int) -> ModelProto:
    """`logits` -> `up`, `ids`, as a semantic model ends."""
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, scale, scale])
    options = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    nodes = [
        helper.make_node("Constant", [], ["scales"], value=scales),
        helper.make_node("Resize", ["logits", "", "scales"], ["up"], **options),
        helper.make_node("ArgMax", ["up"], ["ids"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    outputs = [helper.make_tensor_value_info("up", TensorProto.FLOAT, None)]
    outputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, None))
    graph = helper.make_graph(nodes, "labels", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", fused_step.OPSET)], ir_version=10)


if __name__ == "__main__":
    main()
