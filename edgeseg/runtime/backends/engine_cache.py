"""Engines of models that were given as ONNX files: built once on a device, kept, and taken from there the next time.

The runtime builds nothing itself: that needs the packages of `edgeseg[export]` and takes minutes. It starts
`edgeseg.export.build_for_runtime` in a process of its own and reads its answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeseg import errors
from edgeseg.errors import EdgeSegError, ModelError
from edgeseg.manifest import beside
from edgeseg.runtime.backends.cache import KEPT_ENGINES, cache_folder, trim
from edgeseg.runtime.backends.engine_file import EngineFile, read_engine_file
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.backends.plugin_library import find_library
from edgeseg.runtime.notices import Progress, info, warn


def engine_place(
    onnx: Path, library: str, version: str, precision: str, device: str, plugin: Path | None = None
) -> Path:
    """Where the engine of a model lies, whether it is there or not.

    Args:
        onnx: the model file.
        library: "tensorrt" or "tensorrt-rtx".
        version: the library's.
        precision: "fp32", "fp16" or "int8".
        device: what it is for: the GPU's name and compute capability.
        plugin: the plugin library that it is to be built with.
    """
    file = read_model_file(onnx)
    subject = {
        "onnx": file.sha256,
        "library": library,
        "version": version,
        "precision": precision,
        "device": device,
        "plugin": "" if plugin is None else hashlib.sha256(plugin.read_bytes()).hexdigest(),
    }
    key = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "engines" / f"{library}-{precision}-{file.sha256[:12]}-{key}.engine"


def built_before(onnx: Path, precision: str) -> list[str]:
    """Libraries for which an engine of this file and precision is kept here, whatever their version and device."""
    found = (cache_folder() / "engines").glob(f"*-{precision}-{read_model_file(onnx).sha256[:12]}-*.engine")
    return sorted({path.name.partition(f"-{precision}-")[0] for path in found if _complete(path)})


def cached_engine(onnx: Path, library: str, version: str, precision: str, device: str) -> Path:
    """The engine of a model, built now where it was not built before. Of several processes one builds, others wait.

    TensorRT's is built with edgeseg's plugin where that is found; TensorRT-RTX takes none.

    Args: as `engine_place`.

    Raises:
        What building raises: ModelError, BackendError, InputError, OutputError.
    """
    plugin = find_library() if library == "tensorrt" else None
    place = engine_place(onnx, library, version, precision, device, plugin)
    if _complete(place):
        return place
    with _only_one(place):
        if not _complete(place):
            info(f"building an engine once: {onnx} for {library} {version}, {precision}, on {device}")
            timing = place.parent / f"{library}-{version}.timing"
            _build_first(onnx, place, library, precision, plugin, timing)
            for pattern in ("*.engine", "*.engine.json"):
                trim(place.parent, pattern, KEPT_ENGINES)
    return place


def _build_first(onnx: Path, place: Path, library: str, precision: str, plugin: Path | None, timing: Path) -> None:
    """Build without the plugin where it does not go with this TensorRT: nobody asked for it.

    The engine then lies where the one with the plugin would, so that it is not tried at every start.
    """
    if plugin is not None:
        try:
            build_elsewhere(onnx, place, library, precision, plugin, timing)
            return
        except ModelError as error:
            warn(f"building without the plugin: {error.cause}: {error.seen}")
    build_elsewhere(onnx, place, library, precision, timing_cache=timing)


def rebuild(engine: EngineFile) -> None:
    """Build an engine again, in its place, from the ONNX file that its manifest names; once, also by several processes.

    Raises:
        ModelError: that file is another one by now.
        And what building raises.
    """
    onnx = Path(engine.built["onnx"])
    if read_model_file(onnx).sha256 != engine.built["onnx_sha256"]:
        todo = f"If that is wanted, run {engine.rebuild_command()}"
        raise ModelError("the ONNX file is not the one that the engine was built from", onnx, todo)
    with _only_one(engine.path):
        if _replaced(engine):
            return
        info(f"building the engine again: {engine.path} from {onnx}")
        shapes = {key: engine.built[key] for key in ("batch", "sizes") if key in engine.built}
        build_elsewhere(onnx, engine.path, engine.library, engine.manifest.precision, engine.plugin, shapes=shapes)


def build_elsewhere(
    onnx: Path,
    out: Path,
    library: str,
    precision: str,
    plugin: Path | None = None,
    timing_cache: Path | None = None,
    shapes: Mapping[str, Any] | None = None,
) -> None:
    """Build in another process, with a line of progress; arguments and errors as `edgeseg.export.build_engine`.

    `shapes` has an engine's `batch` and, where it was built for several, `sizes`, as its manifest notes them.

    Raises:
        KeyboardInterrupt: a Ctrl-C ended that process, also where this one only takes note of it (`edgeseg run`).
    """
    order = {"model": onnx, "out": out, "library": library, "precision": precision}
    order |= {"plugin": plugin or "", "timing_cache": timing_cache or ""}
    command = [sys.executable, "-m", "edgeseg.export.build_for_runtime"]
    text = json.dumps({**{key: str(value) for key, value in order.items()}, **(shapes or {})})
    answer: dict[str, Any] = {}
    progress = Progress()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin and worker.stdout
        try:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(text)
                worker.stdin.close()
            for line in worker.stdout:
                answer = json.loads(line)
                if "progress" in answer:
                    phase, done, total = answer["progress"]
                    progress.show(f"{phase}: {done} of {total}")
        except BaseException:
            worker.kill()
            raise
        finally:
            progress.clear()
    if "refused" in answer:
        kind, cause, seen, todo = answer["refused"]
        raise _kind(kind)(cause, seen, todo)
    if "stopped" in answer or worker.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    if "built" not in answer:
        raise EdgeSegError("building the engine ended without an answer", f"exit code {worker.returncode}", "Try again")


def _kind(name: str) -> type[EdgeSegError]:
    found = getattr(errors, name, EdgeSegError)
    return found if isinstance(found, type) and issubclass(found, EdgeSegError) else EdgeSegError


def _replaced(engine: EngineFile) -> bool:
    """Whether another whole engine lies there by now, of the process that had the lock before."""
    try:
        found = read_engine_file(engine.path)
    except EdgeSegError:  # what is to be mended
        return False
    return (found.sha256, found.built) != (engine.sha256, engine.built)


def _complete(place: Path) -> bool:
    # The manifest is written last.
    return place.is_file() and beside(place).is_file()


@contextlib.contextmanager
def _only_one(place: Path) -> Iterator[None]:
    """Hold a lock beside `place`; it goes with the process that holds it, however that ends.

    Raises:
        OutputError: the folder cannot be written, or its file system has no locks.
    """
    import fcntl

    lock = place.with_name(place.name + ".lock")
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                info(f"another process builds {place.name}; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            todo = "Use a folder that can be written; EDGESEG_CACHE names that of engines built unasked"
            raise errors.OutputError("cannot keep an engine", f"{lock} ({error.strerror})", todo) from None
        yield
