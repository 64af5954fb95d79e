"""Calibration: frames as the camera feeds them -> observers -> ranges, a fingerprinted table for quantization."""
