"""A model repository of Triton Inference Server: one folder a model, with what Triton and its clients want to know.

    DIR/NAME/config.pbtxt      tensors, batching, where it runs
    DIR/NAME/labels.txt        the classes, one a line, by id
    DIR/NAME/manifest.json     the whole manifest; what clients need of it also stands in the configuration
    DIR/NAME/1/model.onnx      (platform onnxruntime_onnx) or model.plan (tensorrt_plan)

What Triton wants, read in its sources of 2026 (triton-inference-server's common, core, onnxruntime_backend and
tensorrt_backend):

- A `max_batch_size` above 0 stands for a free first dimension in front of every tensor's `dims`. ONNX Runtime's backend
  refuses a file whose first dimension is fixed then: such a file gets `max_batch_size: 0` and its batch in `dims`.
  TensorRT's takes fixed and free, and refuses more than the engine's profile holds.
- `label_filename` on an output serves the classification extension alone: a client asks for the N largest elements of
  the output, and each is named by its place in the flat tensor. In a label map that place is a pixel, so none of our
  outputs carries it: the classes stand in labels.txt and in the parameter `edgeseg.manifest`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.errors import ModelError, OutputError, UsageError
from edgeseg.export.plugin import LOADER
from edgeseg.export.prototext import Message, Symbol, render
from edgeseg.export.tensors import Tensor, engine_tensors, file_tensors
from edgeseg.manifest import ENGINE_SUFFIX, METADATA_KEY, Manifest
from edgeseg.runtime.backends.engine_file import EngineFile, EngineMisfit, read_engine_file
from edgeseg.runtime.backends.model_file import read_model_file

CONFIG, LABELS, MANIFEST = "config.pbtxt", "labels.txt", "manifest.json"
# What Triton itself takes where nothing is said (--backend-config=default-max-batch-size).
MAX_BATCH = 4
_VERSION = "1"
_PLATFORMS = {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HEADER = "# Written by edgeseg export --triton, and anew by the next one.\n"


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a repository.

    Attributes:
        name: its folder's name, by which clients ask for it.
        repository: the folder that Triton is given.
        platform: "onnxruntime_onnx" or "tensorrt_plan".
        manifest: the model's.
        inputs, outputs: its tensors.
        max_batch: most pictures at once; 0 where the file's batch is fixed.
        notes: what the server must bring, a sentence each without its stop.
    """

    name: str
    repository: Path
    platform: str
    manifest: Manifest
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self.repository / self.name


def describe(model: Path, repository: Path, max_batch: int | None = None, name: str | None = None) -> Served:
    """What a repository is to say of a model; nothing is written.

    Args:
        model: a file by `edgeseg export` or `edgeseg quantize`, or an engine by `edgeseg build` with its manifest
            beside it.
        repository: the folder that Triton is given; it need not exist.
        max_batch: most pictures that Triton may put together; `MAX_BATCH`, or what an engine takes, unless given.
        name: the model's name in the repository; the manifest's unless given.

    Raises:
        InputError: the model cannot be read.
        ModelError: the model is corrupt, has no manifest, or is an engine that Triton does not run.
        UsageError: a name that is none for a folder, or more pictures than the model takes at once.
    """
    most: int | None = None
    notes: tuple[str, ...] = ()
    if model.suffix == ENGINE_SUFFIX:
        engine = _engine(model)
        platform, manifest = "tensorrt_plan", engine.manifest
        inputs, outputs = engine_tensors(manifest)
        most, notes = int(engine.built.get("batch", (1, 1, 1))[2]), _engine_notes(engine)
    else:
        platform, manifest = "onnxruntime_onnx", read_model_file(model).manifest
        inputs, outputs = file_tensors(model)
    name = name or manifest.name
    if not _NAME.fullmatch(name):
        todo = "Give one of letters, digits, _, - and dots with --name"
        raise UsageError("not a name that a model can have in a repository", name, todo)
    batch = _batch((*inputs, *outputs), max_batch, most)
    return Served(name, repository, platform, manifest, inputs, outputs, batch, notes)


def write_repository(served: Served, model: Path) -> None:
    """Put a model into its repository; an earlier one of that name, by this function, is replaced at the end.

    Args:
        served: by `describe`, of that model.
        model: the file or engine, which is copied.

    Raises:
        OutputError: the repository cannot be written, or holds something else under that name.
    """
    with _replaced(served) as folder:
        (folder / _VERSION).mkdir()
        shutil.copyfile(model, folder / _VERSION / _PLATFORMS[served.platform])
        names = (" ".join(text.split()) for text in served.manifest.class_names)
        (folder / LABELS).write_text("".join(f"{text}\n" for text in names), encoding="utf-8")
        (folder / MANIFEST).write_text(served.manifest.to_json() + "\n", encoding="utf-8")
        (folder / CONFIG).write_text(config_text(served), encoding="utf-8")


def config_text(served: Served) -> str:
    """The model's config.pbtxt: protobuf text of `inference.ModelConfig`, model_config.proto."""
    batched = served.max_batch > 0
    kind = "KIND_GPU" if served.platform == "tensorrt_plan" else "KIND_AUTO"
    # What a client prepares frames and reads answers by; where the model came from stays in its folder.
    told = dataclasses.replace(served.manifest, architecture={}, origin={})
    message: dict[str, Any] = {
        "name": served.name,
        "platform": served.platform,
        "max_batch_size": served.max_batch,
        "input": [_tensor(tensor, batched, image=tensor.name == "image") for tensor in served.inputs],
        "output": [_tensor(tensor, batched) for tensor in served.outputs],
        "version_policy": {"latest": {"num_versions": 1}},
        "instance_group": [{"count": 1, "kind": Symbol(kind)}],
    }
    if served.max_batch > 1:
        # No delay: requests that wait anyway go together, none waits for another.
        message["dynamic_batching"] = {}
    message["parameters"] = [{"key": METADATA_KEY, "value": {"string_value": told.to_json()}}]
    return _HEADER + render(message)


def _tensor(tensor: Tensor, batched: bool, image: bool = False) -> Message:
    message: dict[str, Any] = {"name": tensor.name, "data_type": Symbol(f"TYPE_{tensor.kind}")}
    if image and batched:  # Triton takes a format with three dimensions only
        message["format"] = Symbol("FORMAT_NHWC")
    return message | {"dims": list(tensor.shape[1:] if batched else tensor.shape)}


def _batch(tensors: Sequence[Tensor], wanted: int | None, most: int | None) -> int:
    """The configuration's max_batch_size."""
    fixed = next((tensor for tensor in tensors if tensor.shape[0] != -1), None)
    if fixed is not None and wanted is not None:
        raise UsageError("the file's batch is fixed", f"{fixed.name} {list(fixed.shape)}", "Leave --max-batch out")
    if most is not None and wanted is not None and wanted > most:
        todo = "Build it with a larger --max-batch, or ask for fewer"
        raise UsageError("the engine does not take so many pictures at once", f"{wanted} of at most {most}", todo)
    return 0 if fixed is not None else wanted or most or MAX_BATCH


def _engine(path: Path) -> EngineFile:
    try:
        engine = read_engine_file(path)
    except EngineMisfit as error:
        raise ModelError(error.cause, error.seen, f"Run {error.engine.rebuild_command()}") from None
    if engine.library != "tensorrt":
        todo = "Serve the ONNX file, or an engine by edgeseg build --backend tensorrt"
        raise ModelError("Triton runs engines of TensorRT alone", f"{path} is of {engine.library}", todo)
    return engine


def _engine_notes(engine: EngineFile) -> tuple[str, ...]:
    version, capability = engine.built["version"], engine.built["compute_capability"]
    notes = [f"the engine runs in a Triton with TensorRT {version}, on a GPU of compute capability {capability}"]
    if engine.plugin:
        # Triton only opens what it is given, which does not register a plugin.
        notes.append(f"start Triton with --backend-config=tensorrt,plugins={engine.plugin.with_name(LOADER)}")
    return tuple(notes)


@contextmanager
def _replaced(served: Served) -> Iterator[Path]:
    """A new folder that takes the place of the model's at the end; after an error all is as it was."""
    part: Path | None = None
    try:
        served.repository.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(served.folder)
        part = Path(tempfile.mkdtemp(prefix=f".{served.name}.", suffix=".part", dir=served.repository))
        yield part
        # mkdtemp makes folders for their owner alone; Triton may run as somebody else.
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o777 & ~mask)
        old = part.with_suffix(".old")
        if served.folder.exists():
            served.folder.replace(old)
        try:
            part.replace(served.folder)
        except OSError:
            with suppress(FileNotFoundError):
                old.replace(served.folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        seen = f"{served.folder} ({error.strerror or error})"
        raise OutputError("cannot write the model repository", seen, "Choose another place") from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Raise OutputError where something lies that this module did not write."""
    if not folder.exists():
        return
    files = {f"{_VERSION}/{file}" for file in _PLATFORMS.values()}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    foreign = sorted(found - files - {CONFIG, LABELS, MANIFEST, _VERSION})
    if not folder.is_dir() or foreign or (found and MANIFEST not in found):
        todo = "Give another --name, or take it away first"
        raise OutputError("something else lies where the model goes", folder / (foreign or [""])[0], todo)
