"""The runtimes that execute a model file, by name. A new one is a module with a `Backend` and a row in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from edgeseg.errors import BackendError, ModelError, UsageError, nearest
from edgeseg.manifest import ENGINE_SUFFIX
from edgeseg.runtime.backends.base import Backend
from edgeseg.runtime.backends.gpu import gpu_count


@dataclass(frozen=True, slots=True)
class BackendKind:
    """One row of the table.

    Attributes:
        package: import name of the runtime it needs.
        extra: what `pip install edgeseg[EXTRA]` calls it; "" for a core dependency.
        place: "module:callable" that opens a model.
        engines: it runs engines on a GPU, and takes (model, device, precision); others take (model, device, threads,
            batch).
    """

    package: str
    extra: str
    place: str
    engines: bool = False


_ENGINES = "edgeseg.runtime.backends.tensorrt_backend"
_KINDS = {
    "onnxruntime": BackendKind("onnxruntime", "", "edgeseg.runtime.backends.onnxruntime_backend:OnnxRuntimeBackend"),
    "openvino": BackendKind("openvino", "openvino", "edgeseg.runtime.backends.openvino_backend:OpenVinoBackend"),
    "tensorrt": BackendKind("tensorrt", "tensorrt", f"{_ENGINES}:open_tensorrt", engines=True),
    "tensorrt-rtx": BackendKind("tensorrt_rtx", "tensorrt-rtx", f"{_ENGINES}:open_tensorrt_rtx", engines=True),
}


def known() -> Mapping[str, BackendKind]:
    """Every backend's name and what it needs."""
    return dict(_KINDS)


def installed() -> tuple[str, ...]:
    """Names of the backends whose packages are installed here; nothing is imported for it."""
    return tuple(name for name, kind in _KINDS.items() if _present(kind.package))


def usable() -> tuple[str, ...]:
    """Names of the installed backends that have a device here: those that run engines need a GPU."""
    names = installed()
    if any(_KINDS[name].engines for name in names) and gpu_count() == 0:
        names = tuple(name for name in names if not _KINDS[name].engines)
    return names


def load_backend(
    model: Path,
    backend: str,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    batch: int = 1,
) -> Backend:
    """Load a model file.

    Args:
        model: an ONNX file with edgeseg's manifest, or an engine with its manifest beside it.
        backend: a name of `known()`.
        device: the backend's own name for a device, "CPU" or a GPU's number; its default when None.
        threads: threads of one inference on a CPU; the physical cores, at most 8, when None.
        precision: of the engine that a backend for engines builds from an ONNX file, once; as the file when None.
        batch: pictures in each call; backends for engines take one.

    Raises:
        UsageError: an unknown backend, one that takes no such batch, or a number of threads below 1.
        InputError: the file is missing or cannot be read.
        ModelError: the file is corrupt, has no manifest or not the tensors that its manifest promises; an engine does
            not fit this library or device.
        BackendError: the backend is not installed, or finds no such device.
    """
    make = _find(backend)
    if threads is not None and threads < 1:
        raise UsageError("bad number of threads", threads, "Give at least 1")
    if Path(model).suffix == ENGINE_SUFFIX and not _KINDS[backend].engines:
        names = [name for name, kind in _KINDS.items() if kind.engines]
        raise ModelError(f"{backend} runs no engines", model, f"Give the .onnx file, or --backend {' or '.join(names)}")
    if not _KINDS[backend].engines:
        return make(model, device, threads, batch)
    if batch != 1:
        raise UsageError("the backend takes one picture a call", f"{backend}, {batch}", "Leave batches out")
    return make(model, device, precision)


def check_backend(backend: str) -> None:
    """Raise what `load_backend` would for the name alone: UsageError or BackendError."""
    _find(backend)


def _find(backend: str) -> Callable[..., Backend]:
    if backend not in _KINDS:
        raise UsageError("unknown backend", backend, nearest(backend, _KINDS))
    kind = _KINDS[backend]
    if not _present(kind.package):
        raise _absent(backend, kind, "not installed")
    return partial(_make, backend, kind)


def _make(backend: str, kind: BackendKind, model: Path, device: str | None, *how: Any) -> Backend:
    module, _, name = kind.place.partition(":")
    make = getattr(import_module(module), name)
    try:
        return cast(Backend, make(Path(model), device, *how))
    except ImportError as error:  # the package is there, but does not load
        raise _absent(backend, kind, str(error)) from None


def _absent(backend: str, kind: BackendKind, why: str) -> BackendError:
    target = f"'edgeseg[{kind.extra}]'" if kind.extra else kind.package
    return BackendError("the backend cannot be used", f"{backend} ({why})", f"Install it with pip install {target}")


def _present(package: str) -> bool:
    return find_spec(package) is not None
