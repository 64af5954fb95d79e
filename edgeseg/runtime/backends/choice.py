"""`auto`: the fastest pair of backend and precision on this machine, measured once and kept in a cache file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import BackendError, EdgeSegError, ModelError
from edgeseg.machine import cores, cpu_model, versions
from edgeseg.manifest import ENGINE_SUFFIX, PRECISIONS
from edgeseg.runtime.backends import check_backend, known, load_backend, usable
from edgeseg.runtime.backends.base import Backend, first_inputs
from edgeseg.runtime.backends.cache import cache_folder, write_aside
from edgeseg.runtime.backends.engine_cache import built_before
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.backends.timed import Block, median, quiet_blocks, time_block
from edgeseg.runtime.notices import info, warn

CACHE_FILE = "choices.json"
# Part of every key: a new number when the way of measuring or a backend's options change.
_FORMAT = 1
_KEPT = 64  # entries in the cache file
# All pairs together; with loading them, a first start stays under 5 s.
_BUDGET_S = 1.8
_ROUNDS_AT_LEAST, _ROUNDS_AT_MOST = 2, 40
# A block is as many calls as fit into its time, 1 to 6; where it is more than one, two go before that do not count.
_BLOCK_MS, _BLOCK_CALLS = 25.0, 6
_PAUSE_S = 0.004
# Closer than this is a tie, which fp32 wins for being exact.
_TIE = 1.03

Pair = tuple[str, str]  # backend, precision


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs, and why.

    Attributes:
        backend: name of the backend.
        precision: key of the file in the `files` given to `choose`.
        measured_ms: milliseconds of one inference by "BACKEND PRECISION"; empty where there was nothing to choose.
        cached: the figures come from the cache file.
        left_out: why a pair was not measured, by "BACKEND PRECISION".
    """

    backend: str
    precision: str
    measured_ms: Mapping[str, float] = field(default_factory=dict)
    cached: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """`openvino int8 (2.31 ms; onnxruntime fp32 3.60)`, the rest in the order of their speed."""
        chosen = f"{self.backend} {self.precision}"
        if not self.measured_ms:
            return chosen
        others = sorted((ms, name) for name, ms in self.measured_ms.items() if name != chosen)
        listed = "".join(f"; {name} {ms:.2f}" for ms, name in others)
        return f"{chosen} ({self.measured_ms[chosen]:.2f} ms{listed})"


def choose(files: Mapping[str, Path], backends: Sequence[str] | None = None, device: str | None = None) -> Choice:
    """Choose the fastest pair of backend and file; measures if this machine has not done so for these.

    Args:
        files: model file by precision, of one model. An engine is for one backend, so there is nothing to measure.
        backends: names to choose from; when None all that can run here, those for engines only where one was built
            before, since that takes minutes.
        device: as for `load_backend`; a backend that has no such device is left out.

    Raises:
        UsageError: an unknown backend.
        BackendError: none of the backends can be used.
        InputError, ModelError: as `load_backend`, where it holds for every pair.
    """
    for name in backends or ():
        if len(backends or ()) == 1 or name not in known():
            check_backend(name)
    pairs = _candidates(files, backends)
    if not pairs:
        raise BackendError("no backend is installed", "", "Install one with pip install onnxruntime")
    if len(pairs) == 1:
        return Choice(*pairs[0])
    subject = _subject(files, [backend for backend, _ in pairs], device)
    kept = _read_cache()
    found = _from_entry(kept.get(_key(subject)), pairs)
    if found:
        return found
    listed = ", ".join(" ".join(pair) for pair in pairs)
    info(f"measuring once which is fastest on this machine: {listed}")
    choice = _measure(files, pairs, device)
    info(f"fastest: {choice}")
    _write_cache(kept, subject, choice)
    return choice


def _kept_choice(files: Mapping[str, Path]) -> Choice | None:
    """What `choose(files)` found on this machine before; None where it would have to measure."""
    pairs = _candidates(files, None)
    subject = _subject(files, [backend for backend, _ in pairs], None)
    return Choice(*pairs[0]) if len(pairs) == 1 else _from_entry(_read_cache().get(_key(subject)), pairs)


def instead_of_engine(files: Mapping[str, Path], device: str | None, todo: str) -> str:
    """`todo`, and what runs here where an engine of these files cannot, as far as that is known already."""
    if any(path.suffix == ENGINE_SUFFIX for path in files.values()):
        return f"{todo}. A CPU runs the .onnx file that it was built from"
    # `auto` builds nothing: half precision of an engine is none of its files.
    own = {kind: path for kind, path in files.items() if read_model_file(path).manifest.precision == kind}
    kept = _kept_choice(own) if own else None
    if kept is None or known()[kept.backend].engines:
        return todo
    auto = "--backend auto without --device" if device else "--backend auto"
    return f"{todo}. {auto} takes {kept.backend} {kept.precision} on this machine"


def _candidates(files: Mapping[str, Path], backends: Sequence[str] | None) -> list[Pair]:
    precision, path = next(iter(files.items()))
    if path.suffix == ENGINE_SUFFIX:  # for one library alone
        library = read_model_file(path).manifest.origin.get("engine", {}).get("library", "tensorrt")
        return [(library if backends is None else backends[0], precision)]
    names = usable() if backends is None else backends
    if len(names) == 1 and known()[names[0]].engines:  # each would be built to be measured: the smallest one is taken
        return [(names[0], "int8" if "int8" in files else precision)]
    pairs = list(dict.fromkeys((name, kind) for name in names for kind in files))
    if backends is not None:
        return pairs
    return [pair for pair in pairs if not known()[pair[0]].engines or pair in _built(files)]


def _built(files: Mapping[str, Path]) -> set[Pair]:
    return {(library, precision) for precision, path in files.items() for library in built_before(path, precision)}


def _measure(files: Mapping[str, Path], pairs: Sequence[Pair], device: str | None) -> Choice:
    loaded: dict[Pair, Backend] = {}
    failed: dict[Pair, EdgeSegError] = {}
    try:
        for pair in pairs:
            try:
                loaded[pair] = load_backend(files[pair[1]], pair[0], device=device, precision=_wanted(pair))
            except (BackendError, ModelError) as error:
                failed[pair] = error
        if not loaded:
            raise next(iter(failed.values()))
        times_ms = _race(loaded)
    finally:
        for backend in loaded.values():
            backend.close()
    best_ms = min(times_ms.values())
    ties = [pair for pair in loaded if times_ms[pair] <= _TIE * best_ms]
    winner = min(ties, key=lambda pair: (pair[1] != "fp32", times_ms[pair]))
    return Choice(
        *winner,
        measured_ms={" ".join(pair): round(ms, 3) for pair, ms in times_ms.items()},
        left_out={" ".join(pair): str(error) for pair, error in failed.items()},
    )


def _wanted(pair: Pair) -> str | None:
    return pair[1] if pair[1] in PRECISIONS else None


def _race(loaded: Mapping[Pair, Backend]) -> dict[Pair, float]:
    """Milliseconds of one inference by pair: blocks in turn, so that a slow moment hits all; the quiet ones count."""
    calls = {
        pair: partial(backend.infer, first_inputs(backend.manifest, _picture(backend)))
        for pair, backend in loaded.items()
    }
    # The first call loads code and allocates; the second is an estimate.
    counts = {pair: int(_BLOCK_MS / time_block(call, 1, warm=1)[0]) for pair, call in calls.items()}
    blocks: dict[Pair, list[Block]] = {pair: [] for pair in loaded}
    ends = time.monotonic() + _BUDGET_S
    for number in range(_ROUNDS_AT_MOST):
        if number >= _ROUNDS_AT_LEAST and time.monotonic() > ends:
            break
        for pair, call in calls.items():
            time.sleep(_PAUSE_S)  # the threads of the one before go to sleep
            count = max(1, min(_BLOCK_CALLS, counts[pair]))
            blocks[pair].append(time_block(call, count, warm=2 if count > 1 else 0))
    return {pair: median([median(block) for block in quiet_blocks(made)]) for pair, made in blocks.items()}


def _picture(backend: Backend) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = (1, backend.manifest.height, backend.manifest.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _subject(files: Mapping[str, Path], backends: Sequence[str], device: str | None) -> dict[str, Any]:
    """Everything the answer depends on, fit for JSON."""
    return {
        "format": _FORMAT,
        "files": {precision: read_model_file(path).sha256 for precision, path in files.items()},
        "backends": versions(known()[name].package for name in dict.fromkeys(backends)),
        "device": device,
        "cpu": cpu_model(),
        "cores": cores(),
    }


def _key(subject: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:32]


def _from_entry(entry: Any, pairs: Sequence[Pair]) -> Choice | None:
    """A cached entry as a Choice; None where there is none or it makes no sense."""
    try:
        pair = (entry["backend"], entry["precision"])
        measured_ms = {str(name): float(ms) for name, ms in entry["measured_ms"].items()}
        left_out = {str(name): str(why) for name, why in entry["left_out"].items()}
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    fits = pair in pairs and " ".join(pair) in measured_ms
    return Choice(*pair, measured_ms=measured_ms, cached=True, left_out=left_out) if fits else None


def _read_cache() -> dict[str, Any]:
    try:
        content = json.loads((cache_folder() / CACHE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, unreadable or damaged: measured again, and written anew
        return {}
    return content if isinstance(content, dict) else {}


def _write_cache(kept: dict[str, Any], subject: Mapping[str, Any], choice: Choice) -> None:
    entry = {
        "backend": choice.backend,
        "precision": choice.precision,
        "measured_ms": dict(choice.measured_ms),
        "left_out": dict(choice.left_out),
        "measured_for": subject,
    }
    key = _key(subject)
    entries = {name: value for name, value in kept.items() if name != key} | {key: entry}
    newest = dict(list(entries.items())[-_KEPT:])
    path = cache_folder() / CACHE_FILE
    try:
        write_aside(path, json.dumps(newest, indent=1).encode())
    except OSError as error:
        warn(f"cannot keep the measurement: {path} ({error.strerror}); the next start measures again")
