"""Parses an ONNX file and builds an engine, in a process of its own: a vendor library that crashes takes only it along.

What differs between TensorRT 10.3 to 11 and TensorRT-RTX stands here and nowhere else. It reads one JSON object on
standard input (`Order` of `build_engine`) and writes JSON lines: {"progress": [phase, done, total]}, at last
{"built": {...}} or {"refused": [kind, cause, seen, todo]}. Run by `edgeseg.export.build_engine`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from edgeseg.runtime.backends.engine_log import make_logger

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
NO_MEMORY = "memory ran out while the engine was built"
MORE_MEMORY = "Lower --workspace-mb, close what else uses the memory, or build with a smaller --max-batch"


class Refused(Exception):
    """What the other process raises as an error of ours: kind (model, backend, input or output), cause, seen, todo."""


def main() -> None:
    """Build what standard input asks for."""
    # What native code prints, on the file descriptor itself, must not mix with the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.read())
    try:
        tell(answers, {"built": build(order, answers)})
    except Refused as refusal:
        tell(answers, {"refused": list(refusal.args)})


def tell(answers: TextIO, body: dict[str, Any]) -> None:
    """One line to the other process."""
    answers.write(json.dumps(body) + "\n")
    answers.flush()


def build(order: dict[str, Any], answers: TextIO) -> dict[str, Any]:
    """Write the engine; returns what its manifest says of it."""
    try:
        trt: Any = __import__(MODULES[order["library"]])
    except ImportError as error:
        raise Refused("backend", f"{order['library']} does not load", str(error), "Install it again") from None
    logger = make_logger(trt, echo=True)
    if order["plugin"]:
        load_plugin(trt, order["plugin"])
    builder = make_builder(trt, logger, order["library"])
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(order["onnx"]).read_bytes()):
        told = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise Refused("model", "the parser does not take the model", told, "Export it again, or use another backend")
    plugins = sum("PLUGIN" in str(network.get_layer(i).type) for i in range(network.num_layers))
    if plugins < order["plugin_nodes"]:
        seen = f"{plugins} of {order['plugin_nodes']} nodes"
        todo = "Build the plugin for this version of TensorRT, or leave --plugin out"
        raise Refused("model", "the parser did not take the plugin for its nodes", seen, todo)
    config = configure(trt, builder, network, order)
    config.progress_monitor = monitor = _monitor(trt, answers)
    started = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise out_of_memory(logger) or Refused("model", "no engine came out", logger.last(), "Try another precision")
    content = bytes(engine)
    try:
        Path(order["out"]).write_bytes(content)
    except OSError as error:
        seen = f"{order['out']} ({error.strerror})"
        raise Refused(
            "output", "cannot write the engine", seen, "Make room, or name another folder in TMPDIR"
        ) from None
    keep_timing(config, order["timing_cache"])
    return {
        "version": trt.__version__,
        "compute_capability": capability(config),
        "layers": network.num_layers,
        "plugin_layers": plugins,
        "bytes": len(content),
        "build_seconds": round(time.monotonic() - started, 2),
        "steps": monitor.steps,
        # As far as the builder said it, and the system: nothing is estimated.
        "memory": {**logger.memory, **host_peak()},
    }


def out_of_memory(logger: Any) -> Refused | None:
    """The refusal, where the log says that memory ran out."""
    told = logger.no_memory()
    return Refused("backend", NO_MEMORY, told, MORE_MEMORY) if told else None


def host_peak() -> dict[str, int]:
    """The most memory that this process held, bytes, by Linux; getrusage would count the parent's before exec."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return {}
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return {"build_peak_host_bytes": int(peak[1]) << 10} if peak else {}


def make_builder(trt: Any, logger: Any, library: str) -> Any:
    """A builder. TensorRT has none without a GPU: 10.15 and 11 give null, 10.6 ends the process."""
    try:
        builder = trt.Builder(logger)
    except TypeError:
        builder = None
    if builder is None:
        refusal = out_of_memory(logger)
        if refusal:
            raise refusal
        todo = "Build on the device, or with --backend tensorrt-rtx, which needs no GPU"
        raise Refused("backend", f"{library} finds no GPU", logger.last(), todo)
    return builder


def load_plugin(trt: Any, path: str) -> None:
    """Register the creators of a plugin library."""
    from edgeseg.errors import ModelError
    from edgeseg.export.plugin import load_library

    try:
        load_library(trt, Path(path))
    except ModelError as error:
        raise Refused("model", error.cause, error.seen, error.todo) from None


def configure(trt: Any, builder: Any, network: Any, order: dict[str, Any]) -> Any:
    """Workspace, timing cache, and a profile: batch and size from the smallest to the largest, the usual in between."""
    config = builder.create_builder_config()
    if order["detailed"]:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if order["workspace_mb"]:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(order["workspace_mb"]) << 20)
    old = Path(order["timing_cache"]) if order["timing_cache"] else None
    if old is not None:
        config.set_timing_cache(config.create_timing_cache(_old_timing(old)), False)
    profile = builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        profile.set_shape(tensor.name, *filled(tuple(tensor.shape), order["batch"], order["sizes"]))
    config.add_optimization_profile(profile)
    return config


def filled(
    shape: tuple[int, ...], batch: Sequence[int], sizes: Sequence[Sequence[int]] | None
) -> list[tuple[int, ...]]:
    """An input's shape [N, H, W, ...] for each batch and size, where it leaves them open, which is -1."""
    each = sizes or [(-1, -1)] * len(batch)
    return [
        tuple(given if own < 0 else own for own, given in zip(shape, (count, *size), strict=False)) + shape[3:]
        for count, size in zip(batch, each, strict=True)
    ]


def _old_timing(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise Refused("input", "cannot read the timing cache", f"{path} ({error.strerror})", "Give another") from None


def keep_timing(config: Any, path: str) -> None:
    """Keep what the builder measured for the next build; not all libraries measure. An engine is worth more than it."""
    cache = config.get_timing_cache() if path else None
    part = Path(f"{path}.part")
    try:
        if cache is not None:
            part.write_bytes(bytes(cache.serialize()))
            part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        print(f"cannot keep the timing cache: {path} ({error.strerror})", file=sys.stderr, flush=True)


def capability(config: Any) -> str:
    """What the engine is for: that of the first GPU, such as "8.7", or what TensorRT-RTX builds for."""
    if hasattr(config, "num_compute_capabilities"):
        count = config.num_compute_capabilities
        listed = [str(config.get_compute_capability(place)).rpartition(".")[2] for place in range(count)]
        return ", ".join(name for name in listed if name != "NONE") or "8.0 and later, not 9.0"
    major, minor = (_device_attribute(number) for number in (75, 76))
    return f"{major}.{minor}"


def _device_attribute(number: int) -> int:
    """An attribute of the first device by CUDA's driver, which a builder that works has loaded (CUdevice_attribute)."""
    driver, value = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetAttribute(ctypes.byref(value), number, 0):
        raise Refused("backend", "the GPU does not say what it is", number, "Look at nvidia-smi")
    return value.value


def _monitor(trt: Any, answers: TextIO) -> Any:
    class Steps(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells the other process of each step of the outermost phase."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, int] = {}
            self.steps = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self.phases[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.steps += 1
            if phase_name in self.phases:
                tell(answers, {"progress": [phase_name, step + 1, self.phases[phase_name]]})
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

    return Steps()


if __name__ == "__main__":
    main()
