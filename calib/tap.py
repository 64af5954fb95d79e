"""Look inside a model: run it on pictures and take tensors out of its middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Tap = Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[Any]]]


def tap(model: onnx.ModelProto, names: Sequence[str]) -> Tap:
    """A function from the input `image`, uint8 [1, H, W, 3], to the values of the tensors `names`, in their order.

    Computed by ONNX Runtime on the CPU; `model` stays as it is.
    """
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda image: list(session.run(list(names), {"image": image}))
