"""Give each convolution of an int8 file the mean output that it had in float.

Rounding moves the mean of a channel, most of all in depthwise convolutions, where a channel has nine weights; the error
then runs through the whole network. Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias
Correction") take it out of the bias. Here it is measured on pictures, layer after layer from the front, so that each
layer is corrected behind layers that already are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

Inputs = Sequence[npt.NDArray[np.uint8]]


def correct_biases(reference: onnx.ModelProto, quantized: onnx.ModelProto, inputs: Inputs) -> dict[str, float]:
    """Change the biases of `quantized`, in place.

    Args:
        reference: the float model that `quantized` was made from.
        quantized: its int8 form, with the same names of nodes and tensors.
        inputs: pictures, uint8 [1, H, W, 3] each, such as calibration saw.

    Returns:
        For each corrected convolution the largest shift of a channel, as a share of the mean deviation in float.
    """
    nodes = [
        node
        for node in quantized.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[1].endswith(".float")
    ]
    means, deviations = channel_moments(reference, [node.output[0] for node in nodes], inputs)
    shifts = {}
    for node, mean, deviation in zip(nodes, means, deviations, strict=True):
        found, _ = channel_moments(quantized, [node.output[0]], inputs)
        bias = g.array(g.weights(quantized.graph)[node.input[2]])
        g.put(quantized.graph, node.input[2], (bias + mean - found[0]).astype(bias.dtype))
        shifts[node.name] = float(np.abs(mean - found[0]).max() / max(float(deviation.mean()), 1e-6))
    return shifts


def channel_moments(model: onnx.ModelProto, names: Sequence[str], inputs: Inputs) -> tuple[Any, Any]:
    """Means and standard deviations of the tensors `names` over all pictures: two lists of float64 [C]."""
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    g.prune(copy)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    sums = [np.zeros(2) for _ in names]
    count = len(inputs)
    for image in inputs:
        for place, value in enumerate(session.run(list(names), {"image": image})):
            wide = value.astype(np.float64)
            moments = np.stack([wide.mean(axis=(0, 2, 3)), (wide**2).mean(axis=(0, 2, 3))])
            sums[place] = moments if sums[place].ndim == 1 else sums[place] + moments
    means = [total[0] / count for total in sums]
    deviations = [np.sqrt(np.maximum(total[1] / count - mean**2, 0.0)) for total, mean in zip(sums, means, strict=True)]
    return means, deviations
