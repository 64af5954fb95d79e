"""The plugin library of `cpp_ext`: where it lies, and loading it once into a TensorRT.

It holds `UpsampleCropConcat` and `LabelMap`, version 1, namespace "edgeseg" (docs/plugin.md). TensorRT-RTX takes no
plugins; there, and wherever the library is absent, the nodes' function bodies are built instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgeseg.errors import InputError, ModelError
from edgeseg.export.fused_step import PLUGIN

LIBRARY = "libedgeseg_plugin.so"
LOADER = "libedgeseg_plugin_loader.so"  # lies beside it, for programs that only dlopen what they are given
NAMES = ("UpsampleCropConcat", "LabelMap")


def find_library() -> Path | None:
    """The library's path, or None where there is none.

    Looked for in `$EDGESEG_PLUGIN` (a file), in the installed package, in the checkout's `build` (`make ext`).

    Raises:
        InputError: `$EDGESEG_PLUGIN` names no file.
    """
    named = os.environ.get("EDGESEG_PLUGIN")
    if named:
        if not Path(named).is_file():
            raise InputError("no such plugin library", named, "Correct EDGESEG_PLUGIN, or unset it")
        return Path(named)
    package = Path(__file__).resolve().parent
    # Installed, this file lies in edgeseg/export; in a checkout in export, beside build.
    places = (package.parent / "lib" / LIBRARY, package.parent / "build" / LIBRARY)
    return next((path for path in places if path.is_file()), None)


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
