"""From a trained network to model files: ONNX with the camera contract, int8 Q/DQ, and back into torch."""
