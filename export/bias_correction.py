"""Give each convolution of an int8 file the mean output that it had in float.

Rounding moves the mean of a channel, most of all in depthwise convolutions, where a channel has nine weights; the error
then runs through the whole network. Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias
Correction") take it out of the bias. Here it is measured on pictures, layer after layer from the front, so that each
layer is corrected behind layers that already are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.calib.tap import tap
from edgeseg.export import graph as g

if TYPE_CHECKING:
    import onnx

Inputs = Sequence[npt.NDArray[np.uint8]]


def correct_biases(reference: onnx.ModelProto, quantized: onnx.ModelProto, inputs: Inputs) -> None:
    """Change the biases of `quantized`, in place.

    Args:
        reference: the float model that `quantized` was made from.
        quantized: its int8 form, with the same names of nodes and tensors.
        inputs: pictures, uint8 [1, H, W, 3] each, such as calibration saw.
    """
    readers = g.consumers(quantized.graph)
    nodes = [
        node
        for node in quantized.graph.node
        if node.op_type == "Conv"
        and len(node.input) == 3
        and node.input[1].endswith(".float")
        # A bias that several convolutions share has no one mean to be corrected by.
        and len(readers[node.input[2]]) == 1
    ]
    wanted = channel_means(reference, [node.output[0] for node in nodes], inputs)
    for node, mean in zip(nodes, wanted, strict=True):
        (found,) = channel_means(quantized, [node.output[0]], inputs)
        bias = g.array(g.weights(quantized.graph)[node.input[2]])
        g.put(quantized.graph, node.input[2], (bias + mean - found).astype(bias.dtype))


def channel_means(model: onnx.ModelProto, names: Sequence[str], inputs: Inputs) -> list[npt.NDArray[np.float64]]:
    """Mean of each channel of the [N, C, H, W] tensors `names` over all pictures: float64 [C] each."""
    run = tap(model, names)
    pictures = [[value.mean(axis=(0, 2, 3), dtype=np.float64) for value in run(image)] for image in inputs]
    return [np.mean(values, axis=0) for values in zip(*pictures, strict=True)]
