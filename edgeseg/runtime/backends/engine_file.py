"""What an engine was built by and for, and whether it fits here; nothing of it needs a GPU.

The manifest beside the engine has it in `origin["engine"]`, where `edgeseg build` wrote it.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.errors import ModelError
from edgeseg.manifest import Manifest, beside
from edgeseg.runtime.backends.model_file import read_model_file


class EngineMisfit(ModelError):
    """An engine that another build would mend: of another version or device, cut off, without its plugin.

    Attributes:
        engine: what does not fit.
    """

    engine: EngineFile


@dataclass(frozen=True, slots=True)
class EngineFile:
    """One engine with its manifest.

    Attributes:
        path: where it lies.
        manifest: the model's contract.
        sha256: of its bytes, hexadecimal.
        library: "tensorrt" or "tensorrt-rtx".
        built: what `edgeseg build` noted: version, compute_capability, onnx, onnx_sha256, plugin, plugin_sha256, bytes,
            memory, precision, golden_frame, golden_labels and others.
    """

    path: Path
    manifest: Manifest
    sha256: str
    library: str
    built: Mapping[str, Any]

    @property
    def plugin(self) -> Path | None:
        """The plugin library that it needs."""
        return Path(self.built["plugin"]) if self.built.get("plugin") else None

    def rebuild_command(self) -> str:
        """The command line that builds it again."""
        words = ["edgeseg", "build", self.built["onnx"], "-o", str(self.path), "--backend", self.library]
        words += ["--precision", self.manifest.precision]
        if max(self.built.get("batch", [1])) > 1:
            words += ["--max-batch", str(max(self.built["batch"]))]
        if "sizes" in self.built:
            smallest, _, largest = self.built["sizes"]
            words += ["--sizes", f"{smallest[0]}x{smallest[1]},{largest[0]}x{largest[1]}"]
        return shlex.join([*words, "--plugin", str(self.plugin)] if self.plugin else words)

    def misfit(self, cause: str, found: object, needed: object) -> EngineMisfit:
        """The error that names what is here, what is needed and how to get it."""
        seen = f"{self.path} (found {found}, needed {needed})"
        error = EngineMisfit(cause, seen, f"Run {self.rebuild_command()}, or give --rebuild")
        error.engine = self
        return error


def read_engine_file(path: Path) -> EngineFile:
    """Read an engine's manifest and check that the file is whole.

    Raises:
        InputError: a file is missing or cannot be read.
        ModelError: no manifest, or one that is no engine's.
        EngineMisfit: the file is not the one that was built.
    """
    file = read_model_file(path)
    built = file.manifest.origin.get("engine")
    wanted = ("library", "version", "compute_capability", "onnx", "onnx_sha256", "engine_sha256", "bytes")
    if not isinstance(built, dict) or any(key not in built for key in wanted):
        todo = "Build it again with edgeseg build"
        raise ModelError("the manifest does not say what the engine was built by", beside(path), todo)
    engine = EngineFile(path, file.manifest, file.sha256, str(built["library"]), built)
    if file.sha256 != built["engine_sha256"]:
        size = path.stat().st_size
        cause = "the engine is cut off" if size < built["bytes"] else "the engine is not the one that was built"
        raise engine.misfit(cause, f"{size} bytes, sha256 {file.sha256[:8]}", _whole(built))
    return engine


def _whole(built: Mapping[str, Any]) -> str:
    return f"{built['bytes']} bytes, sha256 {built['engine_sha256'][:8]}"


def check_library(engine: EngineFile, library: str, version: str) -> None:
    """Raise where the engine is for another library or version, or its plugin is not the one that it was built with.

    Engines are tied to the exact version that built them.
    """
    if engine.library != library:
        raise ModelError(
            "the engine is for another backend",
            f"{engine.path} (found {engine.library}, asked for {library})",
            f"Give --backend {engine.library}, or build one for {library}",
        )
    if engine.built["version"] != version:
        raise engine.misfit(f"the engine is of another version of {library}", engine.built["version"], version)
    if engine.plugin is None:
        return
    if not engine.plugin.is_file():
        raise engine.misfit("the engine's plugin is missing", "nothing there", engine.plugin)
    seen = hashlib.sha256(engine.plugin.read_bytes()).hexdigest()
    if seen != engine.built["plugin_sha256"]:
        wanted = engine.built["plugin_sha256"]
        raise engine.misfit("the engine's plugin is another one", f"sha256 {seen[:8]}", f"sha256 {wanted[:8]}")


def check_device(engine: EngineFile, compute_capability: str, device: str) -> None:
    """Raise where a TensorRT engine was built for another compute capability ("8.7") than the device's.

    A TensorRT-RTX engine is for many; its library says at loading which.
    """
    built_for = engine.built["compute_capability"]
    if engine.library == "tensorrt" and built_for != compute_capability:
        needed = f"{compute_capability} ({device})"
        raise engine.misfit("the engine is for another GPU", f"compute capability {built_for}", needed)
