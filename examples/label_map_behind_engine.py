"""TensorRT-RTX takes no plugins: an engine that ends at low-resolution logits, and edgeseg's kernel behind it.

    python label_map_behind_engine.py MODEL.onnx PICTURE LABELS.png

MODEL upsamples its logits by a whole number (deeplabv3plus_*). Engine and kernel run on one stream, so nothing visits
the host in between. Needs edgeseg[export,tensorrt-rtx], `make ext` and a GPU; building the engine needs none.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch

from edgeseg.export.build_engine import Order, run_worker, typed
from edgeseg.export.label_map import Ending, end_at_logits
from edgeseg.export.label_map_op import label_map


def build(file: Path, precision: str = "fp16") -> tuple[bytes, Ending, tuple[int, int]]:
    """The engine, what is left to do behind it, and (height, width) of the pictures it takes."""
    content, manifest, _ = typed(file, precision, (), "tensorrt-rtx", None)
    model = onnx.load_from_string(content)
    ending = end_at_logits(model)
    with tempfile.TemporaryDirectory() as folder:
        cut, engine = Path(folder, "cut.onnx"), Path(folder, "cut.engine")
        onnx.save(model, cut)
        run_worker(Order("tensorrt-rtx", str(cut), str(engine)))
        return engine.read_bytes(), ending, (manifest.height, manifest.width)


def run(engine_bytes: bytes, ending: Ending, pictures: np.ndarray) -> torch.Tensor:
    """uint8 [N, H, W, 3] BGR -> labels, uint8 [N, h, w], on the GPU."""
    trt: Any = __import__("tensorrt_rtx")
    engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(engine_bytes)
    context = engine.create_execution_context()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        image = torch.from_numpy(pictures).cuda()
        context.set_input_shape("image", tuple(image.shape))
        kind = torch.float16 if engine.get_tensor_dtype(ending.logits) == trt.DataType.HALF else torch.float32
        logits = torch.empty(tuple(context.get_tensor_shape(ending.logits)), dtype=kind, device="cuda")
        context.set_tensor_address("image", image.data_ptr())
        context.set_tensor_address(ending.logits, logits.data_ptr())
        context.execute_async_v3(stream.cuda_stream)
        labels = label_map(logits, ending.scale, ending.cut)
    stream.synchronize()
    return labels


if __name__ == "__main__":
    made, rest, (height, width) = build(Path(sys.argv[1]))
    picture = cv2.resize(cv2.imread(sys.argv[2]), (width, height))
    cv2.imwrite(sys.argv[3], run(made, rest, picture[None])[0].cpu().numpy())
