"""What a benchmark runs: frames held in memory, and the pairs of backend and precision that were asked for, loaded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import BackendError, InputError, ModelError, UsageError, nearest
from edgeseg.manifest import PRECISIONS
from edgeseg.types import Frame

if TYPE_CHECKING:
    from edgeseg.runtime.segmenter import Segmenter

Pair = tuple[str, str]  # backend, precision
# 44 MB at 1280x720: more than a cache holds, so that frames come from memory as they do from a camera.
FRAMES = 16


def gather(source: str) -> list[Frame]:
    from edgeseg.runtime.sources import open_source

    with open_source(source, max_frames=FRAMES) as opened:
        # Copied: a source may write its next frame where the last one was.
        frames = [Frame(f.image.copy(), f.number, f.captured_ns, f.pts_s, f.source, f.name) for f in opened]
    if not frames:
        raise InputError("the source gave no frame", source, "Give another source")
    return frames


def load(
    stack: contextlib.ExitStack,
    model: str | os.PathLike[str],
    backends: str | Sequence[str],
    precisions: str | Sequence[str],
    device: str | None,
) -> tuple[dict[Pair, Segmenter], dict[str, str]]:
    from edgeseg.runtime.backends import installed, known, load_backend
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.zoo import find_model

    names = [backends] if isinstance(backends, str) else list(backends)
    engines = all(name in known() and known()[name].engines for name in names)
    files = _files(find_model(model).files, precisions, engines)
    loaded: dict[Pair, Segmenter] = {}
    failed: dict[str, BackendError | ModelError] = {}
    for backend, precision in _pairs(files, backends, precisions, device):
        try:
            wanted = precision if precision in PRECISIONS else None
            segmenter = Segmenter(load_backend(files[precision], backend, device=device, precision=wanted))
        except (BackendError, ModelError) as error:
            if backends != "all":
                raise
            failed[f"{backend} {precision}"] = error
            continue
        loaded[backend, precision] = stack.enter_context(segmenter)
    if not loaded:
        raise next(iter(failed.values()))
    left_out = {name: str(error) for name, error in failed.items()}
    if backends == "all":
        tried = {pair[0] for pair in loaded} | {name.partition(" ")[0] for name in failed}
        left_out |= {
            name: "no GPU" if name in installed() else "not installed" for name in known() if name not in tried
        }
    return loaded, left_out


def _files(files: Mapping[str, Path], precisions: str | Sequence[str], engines: bool) -> dict[str, Path]:
    """The files of the precisions that are asked for; engines in half precision are built from the fp32 file."""
    if precisions in ("auto", "all"):
        return dict(files)
    names = [precisions] if isinstance(precisions, str) else list(precisions)
    for name in names:
        if name not in PRECISIONS:
            raise UsageError("unknown precision", name, nearest(name, ("auto", "all", *PRECISIONS)))
    if "file" in files:
        from edgeseg.runtime.backends.model_file import read_model_file

        seen = read_model_file(files["file"]).manifest.precision
        files = {seen: files["file"]}
    if engines and "fp32" in files:
        files = {"fp16": files["fp32"], **files}
    for name in names:
        if name not in files:
            raise UsageError(f"the model does not come in {name}", ", ".join(files), "Choose one of those")
    return {name: files[name] for name in names}


def _pairs(
    files: Mapping[str, Path], backends: str | Sequence[str], precisions: str | Sequence[str], device: str | None
) -> list[Pair]:
    from edgeseg.runtime.backends import check_backend, usable
    from edgeseg.runtime.backends.choice import choose

    if backends == "all":
        return [(backend, precision) for backend in usable() for precision in files]
    names = [backends] if isinstance(backends, str) else list(backends)
    for name in names:
        if name != "auto":
            check_backend(name)
    pairs: list[Pair] = []
    for name in names:
        candidates = None if name == "auto" else [name]
        groups = [files] if precisions == "auto" else [{precision: path} for precision, path in files.items()]
        for group in groups:
            choice = choose(group, candidates, device)
            pairs.append((choice.backend, choice.precision))
    return list(dict.fromkeys(pairs))
