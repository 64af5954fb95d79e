"""An ONNX file becomes a TensorRT or TensorRT-RTX engine with a manifest beside it: `NAME.engine`, `NAME.engine.json`.

    file -> typed graph (half precision where wanted) -> worker process: parse, check, build -> renamed into place

The libraries are met in `engine_worker` alone, in a process of its own. The manifest holds a golden frame and the label
map that ONNX Runtime gives for it, so that the first load on a device can be held against it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any

from edgeseg.errors import BackendError, InputError, ModelError, OutputError, UsageError, nearest
from edgeseg.export.engine_shapes import Size, profile
from edgeseg.export.engine_worker import MODULES, MORE_MEMORY, NO_MEMORY
from edgeseg.export.to_onnx import written_aside
from edgeseg.manifest import PRECISIONS, Manifest, beside
from edgeseg.runtime.backends import known
from edgeseg.runtime.backends.engine_log import no_memory

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all
_KINDS = {"model": ModelError, "backend": BackendError, "input": InputError, "output": OutputError}
# What native libraries say where there is no GPU; 10.6 says it and ends the process.
_NO_GPU = ("CUDA initialization failure", "no CUDA-capable device", "CUDA driver")


@dataclass(frozen=True, slots=True)
class Order:
    """What the worker is asked for.

    Attributes:
        library: "tensorrt" or "tensorrt-rtx".
        onnx: the typed file.
        out: where the engine goes.
        plugin: a plugin library, or "".
        plugin_nodes: how many of the file's nodes must become plugin layers.
        workspace_mb: largest scratch memory, MiB; 0 for the library's own limit.
        batch: smallest, usual and largest number of pictures.
        sizes: smallest, usual and largest (height, width), for inputs that leave them open.
        timing_cache: a file that is read and written, or "".
        detailed: whether the engine keeps of which nodes each layer is made.
    """

    library: str
    onnx: str
    out: str
    plugin: str = ""
    plugin_nodes: int = 0
    workspace_mb: int = 0
    batch: tuple[int, int, int] = (1, 1, 1)
    sizes: tuple[Size, Size, Size] | None = None
    timing_cache: str = ""
    detailed: bool = False


def build_engine(
    model: Path,
    out: Path,
    library: str,
    precision: str | None = None,
    plugin: Path | None = None,
    workspace_mb: int = 0,
    batch: tuple[int, int, int] = (1, 1, 1),
    timing_cache: Path | None = None,
    keep_float: tuple[str, ...] = (),
    progress: Progress | None = None,
    detailed: bool = False,
    sizes: tuple[Size, Size] | None = None,
) -> Manifest:
    """Build an engine and write it with its manifest.

    Args:
        model: a file by `edgeseg export` or `edgeseg quantize`.
        out: the engine.
        library: "tensorrt" or "tensorrt-rtx".
        precision: "fp32", "fp16" or "int8"; as the file is typed unless given. int8 wants a Q/DQ file, whose remaining
            floats are built in FP16.
        plugin: edgeseg's plugin library, for TensorRT.
        workspace_mb: largest scratch memory, MiB; 0 for the library's own limit.
        batch: smallest, usual and largest number of pictures.
        timing_cache: what the builder measured, kept for the next build.
        keep_float: nodes that stay in FP32 in fp16 and int8.
        progress: called with phase, steps done and steps in all.
        detailed: the engine keeps of which nodes each layer is made, for those who measure it.
        sizes: smallest and largest (height, width) that the engine is to take, of a file that leaves its size open;
            the manifest's alone unless given. The engine is fastest at the manifest's size, which lies between.

    Returns:
        The engine's manifest; what it was built by stands in `origin["engine"]`. Its `memory` has what the builder
        said: `activation_bytes`, `persistent_bytes` and `weights_bytes` of the engine on the device, and
        `build_peak_device_bytes`, to the MiB; and `build_peak_host_bytes` of the builder's process, by the system. What
        nobody said is absent.

    Raises:
        UsageError: an unknown precision or library, a plugin for TensorRT-RTX, a batch or sizes that the file does not
            take.
        InputError, OutputError: a file cannot be read or written.
        ModelError: a file of another precision, or one that the parser does not take.
        BackendError: the library is not installed, finds no GPU and needs one, or too little memory.
    """
    check_library(library, plugin)
    content, manifest, nodes = typed(model, precision, keep_float, library, plugin)
    batch, between = profile(model, library, manifest, batch, sizes)
    with tempfile.TemporaryDirectory() as folder:
        file, built = Path(folder) / "typed.onnx", Path(folder) / "built.engine"
        try:
            file.write_bytes(content)
        except OSError as error:
            todo = "Make room, or name another folder in TMPDIR"
            raise OutputError("cannot write the typed file", f"{file} ({error.strerror})", todo) from None
        order = Order(
            library,
            str(file),
            str(built),
            str(plugin or ""),
            nodes,
            workspace_mb,
            batch,
            between,
            str(timing_cache or ""),
            detailed,
        )
        report = run_worker(order, progress)
        engine = {
            "library": library,
            **report,
            "precision": manifest.precision,
            "onnx": str(model.resolve()),
            "onnx_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "plugin": str(plugin.resolve()) if plugin else "",
            "plugin_sha256": hashlib.sha256(plugin.read_bytes()).hexdigest() if plugin else "",
            "batch": list(batch),
            **({"sizes": [list(size) for size in between]} if sizes else {}),
            "engine_sha256": hashlib.sha256(built.read_bytes()).hexdigest(),
            **golden(model, manifest, batch[1]),
        }
        manifest = dataclasses.replace(manifest, origin=dict(manifest.origin) | {"engine": engine})
        write_pair(out, built.read_bytes(), manifest)
    return manifest


def write_pair(out: Path, engine: bytes, manifest: Manifest) -> None:
    """Write an engine and its manifest: both aside, then the engine is renamed into place, and at once its manifest.

    So an error leaves what was there before. Whoever reads between the two renames, or after a process that was killed
    there, finds no manifest, or one with another engine's hash: `read_engine_file` refuses both.

    Raises:
        OutputError: one of them cannot be written.
    """
    if beside(out).is_dir():  # the second rename must not be the one that fails
        raise OutputError("cannot write a file where a folder is", beside(out), "Choose another place")
    with written_aside(beside(out)) as noted:
        noted.write_text(manifest.to_json() + "\n", encoding="utf-8")
        with written_aside(out) as part:
            part.write_bytes(engine)


def check_library(library: str, plugin: Path | None) -> None:
    """Raise what can be said without starting it."""
    if library not in MODULES:
        raise UsageError("no library that builds engines", library, nearest(library, MODULES))
    if plugin is not None and library == "tensorrt-rtx":
        todo = "Leave --plugin out: the function body is built"
        raise UsageError("TensorRT-RTX takes no plugins, and a routed one ends its process", plugin, todo)
    if plugin is not None and not plugin.is_file():
        raise InputError("no such plugin library", plugin, "Give its path, or leave --plugin out")
    if find_spec(MODULES[library]) is None:
        extra = known()[library].extra
        raise BackendError(f"{library} is not installed", library, f"Install it with pip install 'edgeseg[{extra}]'")


def typed(
    model: Path, precision: str | None, keep_float: tuple[str, ...], library: str, plugin: Path | None
) -> tuple[bytes, Manifest, int]:
    """The file as the builder gets it, its manifest in that precision, and the number of plugin nodes in it."""
    from edgeseg.calib.model_file import read_model
    from edgeseg.export.half import to_half
    from edgeseg.export.plugin_graph import for_plugin

    proto, manifest = read_model(model)
    wanted = precision or manifest.precision
    if wanted not in PRECISIONS:
        raise UsageError("unknown precision", wanted, nearest(wanted, PRECISIONS))
    if (wanted == "int8") != (manifest.precision == "int8"):
        todo = "Give the file by edgeseg quantize for int8, the one by edgeseg export for fp32 and fp16"
        raise ModelError(f"{wanted} cannot be built from this file", f"{model} is {manifest.precision}", todo)
    if wanted != "fp32":
        to_half(proto, keep_float)
    elif keep_float:
        raise UsageError("everything is in FP32 already", ", ".join(keep_float), "Leave --keep-float out")
    nodes = for_plugin(proto) if plugin else 0
    return proto.SerializeToString(), dataclasses.replace(manifest, precision=wanted), nodes


def run_worker(order: Order, progress: Progress | None = None) -> dict[str, Any]:
    """Build in another process; what it refuses, and its death, become errors of ours."""
    command = [sys.executable, "-m", "edgeseg.export.engine_worker"]
    answer: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, text=True) as worker:
            assert worker.stdin and worker.stdout
            try:
                with suppress(BrokenPipeError):  # it died at once: its log says why
                    worker.stdin.write(json.dumps(asdict(order)))
                    worker.stdin.close()
                for line in worker.stdout:
                    body = json.loads(line)
                    if "progress" not in body:
                        answer = body
                    elif progress:
                        progress(*body["progress"])
            except BaseException:
                worker.kill()
                raise
        if "built" in answer:
            return dict(answer["built"])
        log.seek(0)
        lines = [line.strip() for line in log.read().splitlines() if line.strip()]
    if "refused" in answer:
        kind, cause, seen, todo = answer["refused"]
        raise _KINDS[kind](cause, seen, todo)
    memory = no_memory(lines)
    if memory:
        raise BackendError(NO_MEMORY, memory, MORE_MEMORY)
    if worker.returncode == -signal.SIGKILL:
        seen = f"{order.library} (signal 9, by which a system ends processes when memory runs out)"
        raise BackendError("the build was killed", seen, MORE_MEMORY)
    told = next((line for line in reversed(lines) if any(word in line for word in _NO_GPU)), None)
    if told:
        todo = "Build on the device, or with --backend tensorrt-rtx, which needs no GPU"
        raise BackendError(f"{order.library} finds no GPU", told, todo)
    seen = f"exit code {worker.returncode}; {lines[-1] if lines else 'it said nothing'}"
    raise ModelError(f"{order.library} ended in the middle of the build", seen, "Report it with the file")


def golden(model: Path, manifest: Manifest, batch: int = 1) -> dict[str, Any]:
    """A drawn frame and the label map that ONNX Runtime gives for it, as PNG in base64."""
    import cv2
    import numpy as np

    from edgeseg.export.check import sample_pictures
    from edgeseg.runtime.backends import load_backend
    from edgeseg.runtime.backends.base import first_inputs

    picture = sample_pictures(manifest.height, manifest.width)[-1]
    found: dict[str, Any] = {}
    if manifest.task != "semantic":
        return found
    with load_backend(model, "onnxruntime", batch=batch) as backend:
        inputs = first_inputs(manifest, picture[None])
        fed = {name: np.repeat(value, batch, axis=0) for name, value in inputs.items()}
        labels = backend.infer(fed)["label_map"][0]
    for name, image in (("golden_frame", picture), ("golden_labels", labels)):
        found[name] = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
    return found
