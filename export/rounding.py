"""Round the weights of a layer so that its outputs on real pictures change least, instead of each to its nearest step.

Weights are rounded one after another, and those that are still to come make up for the error: Frantar et al. 2023
("GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"), after the optimal brain surgeon
(Hassibi and Stork 1993). Neighbouring pixels are nearly the same, and so are many channels: in a first layer what is
lost on one weight comes back almost whole on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.calib.tap import tap
from edgeseg.errors import ModelError
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[np.float64]
# Places that are looked at in each picture; their neighbours say the same.
PLACES = 1024
# Layers whose inputs are held at a time, and weights of an output above which moments would take too much memory.
AT_ONCE, MOST = 8, 2304
# Added to each second moment, as a share of their mean: inputs that are never seen get no error piled upon them.
DAMPING = 0.01


def rounded(weight: Array, scale: Array, levels: int, moments: Array) -> npt.NDArray[np.int8]:
    """Steps of int8 weights.

    With w a row, q its steps times its scale and M the second moments of what it is multiplied with, the mean squared
    error of the output is (w - q) M (w - q)^T; it is made small greedily, largest moments first.

    Args:
        weight: [outputs, inputs].
        scale: [outputs], above 0.
        levels: steps either way.
        moments: [inputs, inputs], symmetric: the mean of x x^T.

    Raises:
        ModelError: moments that are not finite.

    Returns:
        int8 [outputs, inputs], each within `levels`.
    """
    if not np.isfinite(moments).all():
        raise ModelError(
            "a layer's inputs are not finite on these pictures", "NaN or infinity", "Look at the fp32 file"
        )
    order = np.argsort(-np.diag(moments), kind="stable")
    # Where nothing ever comes in, each weight is rounded by itself.
    damping = DAMPING * float(np.mean(np.diag(moments))) or 1.0
    damped = moments[np.ix_(order, order)] + damping * np.eye(len(order))
    # Row i: how an error at i is best made up for by what comes behind it.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = weight[:, order]
    steps: Array = np.zeros_like(left)
    for i in range(left.shape[1]):
        steps[:, i] = np.clip(np.rint(left[:, i] / scale), -levels, levels)
        error = (left[:, i] - steps[:, i] * scale) / factor[i, i]
        left[:, i:] -= error[:, None] * factor[i, i:]
    made = np.empty(weight.shape, np.int8)
    made[:, order] = steps.astype(np.int8)
    return made


def rounded_by_group(weight: Array, scale: Array, levels: int, moments: Array) -> npt.NDArray[np.int8]:
    """`rounded` for each group of a convolution: weight [outputs, inputs of one], moments [groups, inputs, inputs]."""
    each = len(weight) // len(moments)
    rows = [slice(each * k, each * (k + 1)) for k in range(len(moments))]
    made = [rounded(weight[row], scale[row], levels, own) for row, own in zip(rows, moments, strict=True)]
    return np.concatenate(made)


def second_moments(
    model: onnx.ModelProto, layers: Sequence[onnx.NodeProto], inputs: Sequence[npt.NDArray[np.uint8]]
) -> dict[str, Array]:
    """What `rounded` needs of each layer, by its weights' name: float64 [groups, inputs of a group, inputs of a group].

    Args:
        model: a float model.
        layers: its convolutions and linear layers; those with very many inputs are left out.
        inputs: pictures, uint8 [1, H, W, 3] each, such as calibration saw.
    """
    known = g.weights(model.graph)
    sizes = {node.name: tuple(known[node.input[1]].dims) for node in layers}
    chosen = [node for node in layers if math.prod(sizes[node.name][1:]) <= MOST]
    sums: dict[str, Array] = {}
    rng = np.random.default_rng(0)
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        tensors = list(dict.fromkeys(node.input[0] for node in part))
        run = tap(model, tensors)
        for image in inputs:
            values = dict(zip(tensors, run(image), strict=True))
            for node in part:
                seen = _seen(values[node.input[0]], node, sizes[node.name], rng).transpose(1, 2, 0)
                moment = seen @ seen.transpose(0, 2, 1) / seen.shape[2] / len(inputs)
                # Layers that share weights are rounded for all of their inputs.
                name = node.input[1]
                sums[name] = sums[name] + moment if name in sums else moment
    return sums


def _seen(value: npt.NDArray[Any], node: onnx.NodeProto, size: Sequence[int], rng: np.random.Generator) -> Array:
    """What the weights are multiplied with at some places: [places, groups, inputs of a group]."""
    if node.op_type != "Conv":
        rows = value.reshape(-1, value.shape[-1])
        return rows[rng.permutation(len(rows))[:PLACES], None].astype(np.float64)
    kernel, groups = size[2:], int(g.attribute(node, "group", 1))
    top, left, bottom, right = g.attribute(node, "pads", [0, 0, 0, 0])
    padded = np.pad(value[0], ((0, 0), (top, bottom), (left, right)))
    steps, spread = g.attribute(node, "strides", [1, 1]), g.attribute(node, "dilations", [1, 1])
    counts = [
        (have - (k - 1) * d - 1) // s + 1 for have, k, s, d in zip(padded.shape[1:], kernel, steps, spread, strict=True)
    ]
    places = rng.permutation(counts[0] * counts[1])[:PLACES]
    rows = places[:, None] // counts[1] * steps[0] + spread[0] * np.arange(kernel[0])
    columns = places[:, None] % counts[1] * steps[1] + spread[1] * np.arange(kernel[1])
    found = padded[:, rows[:, :, None], columns[:, None, :]]
    seen: Array = found.transpose(1, 0, 2, 3).reshape(len(places), groups, -1).astype(np.float64)
    return seen
