"""Look inside a model: run it on pictures and take tensors out of its middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.manifest import PREVIOUS

if TYPE_CHECKING:
    import onnx

ANSWER = "probability"

Tap = Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[Any]]]


def tap(model: onnx.ModelProto, names: Sequence[str]) -> Tap:
    """A function from the input `image`, uint8 [1, H, W, 3], to the values of the tensors `names`, in their order.

    Computed by ONNX Runtime on the CPU; `model` stays as it is. A model with memory sees each picture twice, first with
    nothing remembered, then with what it said: the second run counts.
    """
    import onnx
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    remembers = any(value.name == PREVIOUS for value in model.graph.input)
    wanted = dict.fromkeys((*names, ANSWER) if remembers else names)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        inputs = {"image": image}
        if remembers:
            nothing = np.zeros(image.shape[:3], np.uint8)
            (inputs[PREVIOUS],) = session.run([ANSWER], inputs | {PREVIOUS: nothing})
        return list(session.run(list(names), inputs))

    return run
