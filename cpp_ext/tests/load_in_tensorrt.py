"""Loads a plugin library into the TensorRT of this process and makes both plugins; one JSON object on standard output.

    PYTHONPATH=.tensorrt/10.15/site python cpp_ext/tests/load_in_tensorrt.py build/libedgeseg_plugin.so

TensorRT's bindings and numpy are all it needs. Without a GPU this is as far as TensorRT goes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tensorrt as trt

NAMESPACE, VERSION = "edgeseg", "1"
# Plugin -> (fields that make one, fields that must be refused)
PLUGINS = {
    "UpsampleCropConcat": ({"scale": 2, "mode": "nearest"}, {"scale": 2, "mode": "cubic"}),
    "LabelMap": ({"scale": 4}, {"scale": 0}),
}


class Logger(trt.ILogger):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        """One line of TensorRT's, or of a plugin's."""
        self.lines.append(f"{severity.name}: {msg}")


def main() -> None:
    """Load, look up, create."""
    logger = Logger()
    trt.init_libnvinfer_plugins(logger, "")
    registry = trt.get_plugin_registry()
    found: dict[str, Any] = {"version": trt.__version__, "loaded": registry.load_library(sys.argv[1]) is not None}
    for name, (good, bad) in PLUGINS.items():
        creator = registry.get_creator(name, VERSION, NAMESPACE)
        found[name] = None
        if creator is None:
            continue
        plugin = creator.create_plugin("layer", collection(good), trt.TensorRTPhase.BUILD)
        found[name] = {
            "fields": [field.name for field in creator.field_names],
            "created": plugin is not None,
            "capabilities": [
                kind
                for kind in ("CORE", "BUILD", "RUNTIME")
                if plugin.get_capability_interface(getattr(trt.PluginCapabilityType, kind)) is not None
            ],
            "refused": refuses(creator, bad),
        }
    found["log"] = [line for line in logger.lines if "edgeseg" in line or line.startswith("ERROR")]
    print(json.dumps(found))


def refuses(creator: Any, fields: dict[str, int | str]) -> bool:
    """True where no plugin comes out."""
    try:
        return creator.create_plugin("layer", collection(fields), trt.TensorRTPhase.BUILD) is None
    except (RuntimeError, TypeError):  # pybind's way to say that nothing came
        return True


def collection(fields: dict[str, int | str]) -> Any:
    """Fields as TensorRT takes them."""
    made = []
    for name, value in fields.items():
        if isinstance(value, str):
            made.append(trt.PluginField(name, np.frombuffer(value.encode(), np.int8), trt.PluginFieldType.CHAR))
        else:
            made.append(trt.PluginField(name, np.array([value], np.int32), trt.PluginFieldType.INT32))
    return trt.PluginFieldCollection(made)


if __name__ == "__main__":
    main()
