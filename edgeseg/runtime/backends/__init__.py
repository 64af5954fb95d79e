"""The runtimes that execute a model file, by name. A new one is a module with a `Backend` and a row in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from edgeseg.errors import BackendError, UsageError, nearest
from edgeseg.runtime.backends.base import Backend


@dataclass(frozen=True, slots=True)
class BackendKind:
    """One row of the table.

    Attributes:
        package: import name of the runtime it needs.
        extra: what `pip install edgeseg[EXTRA]` calls it; "" for a core dependency.
        place: "module:class" of the backend; "" where this version has none yet.
    """

    package: str
    extra: str
    place: str

    @property
    def in_this_version(self) -> bool:
        """False for a backend that only has its name so far."""
        return bool(self.place)


_KINDS = {
    "onnxruntime": BackendKind("onnxruntime", "", "edgeseg.runtime.backends.onnxruntime_backend:OnnxRuntimeBackend"),
    "openvino": BackendKind("openvino", "openvino", "edgeseg.runtime.backends.openvino_backend:OpenVinoBackend"),
    "tensorrt": BackendKind("tensorrt", "tensorrt", ""),
    "tensorrt-rtx": BackendKind("tensorrt_rtx", "tensorrt-rtx", ""),
}


def known() -> Mapping[str, BackendKind]:
    """Every backend's name and what it needs, those that come later included."""
    return dict(_KINDS)


def installed() -> tuple[str, ...]:
    """Names of the backends of this version whose packages are installed here; nothing is imported for it."""
    return tuple(name for name, kind in _KINDS.items() if kind.in_this_version and _present(kind.package))


def load_backend(model: Path, backend: str, device: str | None = None, threads: int | None = None) -> Backend:
    """Load a model file.

    Args:
        model: an ONNX file with edgeseg's manifest.
        backend: a name of `known()`.
        device: the backend's own name for a device; its default when None.
        threads: threads of one inference; the physical cores, at most 8, when None.

    Raises:
        UsageError: an unknown backend, or a number of threads below 1.
        InputError: the file is missing or cannot be read.
        ModelError: the file is corrupt, has no manifest or not the tensors that its manifest promises.
        BackendError: the backend is not installed, not in this version, or finds no such device.
    """
    make = _find(backend)
    if threads is not None and threads < 1:
        raise UsageError("bad number of threads", threads, "Give at least 1")
    return make(model, device, threads)


def check_backend(backend: str) -> None:
    """Raise what `load_backend` would for the name alone: UsageError or BackendError."""
    _find(backend)


def _find(backend: str) -> Callable[[Path, str | None, int | None], Backend]:
    if backend not in _KINDS:
        raise UsageError("unknown backend", backend, nearest(backend, _KINDS))
    kind = _KINDS[backend]
    if not kind.in_this_version:
        usable = ", ".join(name for name, row in _KINDS.items() if row.in_this_version)
        raise BackendError("this backend is not in this version", backend, f"Use one of {usable}")
    if not _present(kind.package):
        raise _absent(backend, kind, "not installed")
    return partial(_make, backend, kind)


def _make(backend: str, kind: BackendKind, model: Path, device: str | None, threads: int | None) -> Backend:
    module, _, name = kind.place.partition(":")
    cls = getattr(import_module(module), name)
    try:
        return cast(Backend, cls(Path(model), device, threads))
    except ImportError as error:  # the package is there, but does not load
        raise _absent(backend, kind, str(error)) from None


def _absent(backend: str, kind: BackendKind, why: str) -> BackendError:
    target = f"'edgeseg[{kind.extra}]'" if kind.extra else kind.package
    return BackendError("the backend cannot be used", f"{backend} ({why})", f"Install it with pip install {target}")


def _present(package: str) -> bool:
    return find_spec(package) is not None
