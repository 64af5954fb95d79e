"""The plugin library of `cpp_ext`, loaded once into a TensorRT.

It holds `UpsampleCropConcat` and `LabelMap`, version 1, namespace "edgeseg" (docs/plugin.md). TensorRT-RTX takes no
plugins; there, and wherever the library is absent, the nodes' function bodies are built instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.errors import ModelError
from edgeseg.export.fused_step import PLUGIN
from edgeseg.runtime.backends.plugin_library import LIBRARY, find_library

__all__ = ["LIBRARY", "LOADER", "NAMES", "find_library", "load_library", "missing"]

LOADER = "libedgeseg_plugin_loader.so"  # lies beside the library, for programs that only dlopen what they are given
NAMES = ("UpsampleCropConcat", "LabelMap")


def load_library(trt: Any, path: Path) -> None:
    """Register the library's creators with TensorRT, unless they are registered.

    Args:
        trt: the module `tensorrt`.
        path: of the library.

    Raises:
        ModelError: it does not load, or it is not edgeseg's.
    """
    trt.init_libnvinfer_plugins(trt.Logger(trt.Logger.ERROR), "")
    registry = trt.get_plugin_registry()
    if not missing(registry):
        return
    if registry.load_library(str(path)) is None:
        todo = f"Build it with headers that are not newer than TensorRT {trt.__version__}"
        raise ModelError("the plugin library does not load", path, todo)
    absent = missing(registry)
    if absent:
        raise ModelError(f"the plugin library has no {' and no '.join(absent)}", path, "Build it again: make ext")


def missing(registry: Any) -> list[str]:
    """Names of edgeseg's plugins that a registry does not know."""
    version, namespace = PLUGIN["plugin_version"], PLUGIN["plugin_namespace"]
    known = {(item.name, item.plugin_version, item.plugin_namespace) for item in registry.all_creators}
    return [name for name in NAMES if (name, version, namespace) not in known]
