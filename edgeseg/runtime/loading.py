"""Which of a model's files is loaded, and by which backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import BackendError, UsageError, nearest
from edgeseg.manifest import PRECISIONS
from edgeseg.runtime.zoo import ModelFiles

if TYPE_CHECKING:
    from edgeseg.runtime.backends.base import Backend
    from edgeseg.runtime.backends.choice import Choice


def load_files(files: Mapping[str, Path], choice: Choice, device: str | None, rebuild: bool) -> Backend:
    """The file of the chosen precision, loaded; BackendError says what would run instead of an engine."""
    from edgeseg.runtime.backends import load_backend
    from edgeseg.runtime.backends.engine_file import EngineMisfit

    path = files[choice.precision]
    try:
        return load_backend(path, choice.backend, device, precision=choice.precision)
    except EngineMisfit as error:
        if not rebuild:
            raise
        from edgeseg.runtime.backends import engine_cache

        engine_cache.rebuild(error.engine)
        return load_backend(path, choice.backend, device)
    except BackendError as error:
        if not runs_engines(choice.backend):
            raise
        from edgeseg.runtime.backends.choice import instead_of_engine

        raise BackendError(error.cause, error.seen, instead_of_engine(files, device, error.todo)) from None


def runs_engines(backend: str) -> bool:
    """Whether a backend, by its name, builds engines of a file."""
    from edgeseg.runtime.backends import known

    return backend in known() and known()[backend].engines


def of_precision(found: ModelFiles, precision: str, engines: bool) -> Mapping[str, Path]:
    """The files to choose from, by precision; what runs engines builds fp16 from the fp32 file."""
    if precision != "auto" and precision not in PRECISIONS:
        raise UsageError("unknown precision", precision, nearest(precision, ("auto", *PRECISIONS)))
    files = found.files
    if not found.from_zoo:
        from edgeseg.runtime.backends.model_file import read_model_file

        path = files["file"]
        files = {read_model_file(path).manifest.precision: path}
    if precision == "auto":
        return files
    if engines and "fp32" in files:
        files = {"fp16": files["fp32"], **files}
    if precision not in files:
        seen = f"{found.name} ({', '.join(files)})"
        raise UsageError(f"the model is not there in {precision}", seen, "Choose one of those")
    return {precision: files[precision]}
