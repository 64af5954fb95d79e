"""Reads an edgeseg ONNX file for work on its graph: the model and its manifest, or an error that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import ModelError
from edgeseg.manifest import ENGINE_SUFFIX, Manifest

if TYPE_CHECKING:
    import onnx


def read_model(path: Path | str) -> tuple[onnx.ModelProto, Manifest]:
    """An edgeseg ONNX file and its manifest.

    Raises:
        InputError: there is no such file.
        ModelError: it is no valid ONNX file, an engine for one, or has no manifest.
    """
    import onnx

    from edgeseg.runtime.backends.model_file import corrupt, read_model_file

    manifest = read_model_file(Path(path)).manifest
    if Path(path).suffix == ENGINE_SUFFIX:
        source = dict(manifest.origin.get("engine", {})).get("onnx", "an .onnx file")
        raise ModelError("an engine is no ONNX file", path, f"Give what it was built from: {source}")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's own classes have no common base
        raise corrupt(Path(path), str(error).splitlines()[0]) from None
    return model, manifest


def read_float_model(path: Path | str) -> tuple[onnx.ModelProto, Manifest]:
    """`read_model`, and a ModelError unless the file is fp32 as the exporter wrote it."""
    model, manifest = read_model(path)
    if manifest.precision != "fp32":
        raise ModelError("this needs an fp32 file", f"{path} is {manifest.precision}", "Give the file it was made from")
    return model, manifest
