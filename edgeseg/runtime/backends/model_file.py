"""What a model file says about itself, read without the onnx package: its manifest, and whether it holds functions.

An engine's manifest lies beside it, as `NAME.engine.json`. An ONNX file's lies inside.

An ONNX file is one protobuf message, ModelProto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), and a message
is a row of fields: a varint `field number << 3 | wire type`, then a varint (type 0), 8 bytes (1), a varint length and
as many bytes (2) or 4 bytes (5); see https://protobuf.dev/programming-guides/encoding. Three fields of the outermost
message are of interest here, and all others, the graph with its weights among them, are stepped over: reading takes
microseconds where a session of ONNX Runtime, the other way to the metadata, takes tens of milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import InputError, ModelError
from edgeseg.manifest import ENGINE_SUFFIX, METADATA_KEY, Manifest, beside

_CHECKPOINT = b"PK\x03\x04"  # torch writes zip files
_GRAPH, _METADATA, _FUNCTIONS = 7, 14, 25  # fields of ModelProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One ONNX file or engine with edgeseg's contract.

    Attributes:
        path: where it lies.
        manifest: from its metadata.
        sha256: of its bytes, hexadecimal.
        has_functions: operators are defined inside the file; OpenVINO reads no such file.
    """

    path: Path
    manifest: Manifest
    sha256: str
    has_functions: bool


def read_model_file(path: Path) -> ModelFile:
    """Read what an ONNX file, or the manifest beside an engine, says about a model.

    Raises:
        InputError: the file is missing, a folder, or cannot be read.
        ModelError: it is no ONNX file, is cut off, has no manifest or a bad one.
    """
    content = read_bytes(path)
    if path.suffix == ENGINE_SUFFIX:
        return ModelFile(path, _engine_manifest(path), hashlib.sha256(content).hexdigest(), False)
    try:
        fields = list(_fields(content))
        entries = [dict(_fields(value)) for number, value in fields if number == _METADATA]
        metadata = {entry[_KEY].decode(): entry.get(_VALUE, b"").decode() for entry in entries}
    except (ValueError, KeyError):
        if content.startswith(_CHECKPOINT):
            todo = f"Run edgeseg export {path} -o model.onnx, and give that file"
            raise ModelError("a checkpoint is no model file", path, todo) from None
        raise corrupt(path, "damaged or no ONNX") from None
    numbers = {number for number, _ in fields}
    if _GRAPH not in numbers:
        raise corrupt(path, "no graph inside")
    if METADATA_KEY not in metadata:
        raise ModelError(
            "the model file has no manifest", path, "Write it with edgeseg export CHECKPOINT -o model.onnx"
        )
    manifest = Manifest.from_json(metadata[METADATA_KEY], where=path)
    return ModelFile(path, manifest, hashlib.sha256(content).hexdigest(), _FUNCTIONS in numbers)


def _engine_manifest(path: Path) -> Manifest:
    place = beside(path)
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        todo = "Build it with edgeseg build MODEL.onnx -o OUT.engine, and keep both files together"
        raise ModelError("the engine has no manifest beside it", place, todo) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the engine's manifest", f"{place} ({error})", "Build the engine again") from None
    return Manifest.from_json(text, where=place)


def read_bytes(path: Path) -> bytes:
    """The file's content; InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        kind = f"NAME{ENGINE_SUFFIX}, by edgeseg build" if path.suffix == ENGINE_SUFFIX else "an .onnx file"
        raise InputError("the model file does not exist", path, f"Give {kind}") from None
    except OSError as error:
        raise InputError("cannot read the model file", f"{path} ({error.strerror})", "Give an .onnx file") from None


def corrupt(path: Path, why: str) -> ModelError:
    """The error for a file that no runtime can load."""
    return ModelError("the model file is corrupt", f"{path} ({why})", "Export or download it again")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, content) of each field; numbers have empty content. ValueError where the message is damaged."""
    view, place, end = memoryview(message), 0, len(message)
    while place < end:
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            length = 0
        elif kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind}")
        if number == 0 or place + length > end:
            raise ValueError("a field reaches past the end")
        # Only short fields are ever looked into: the graph is not copied.
        yield number, bytes(view[place : place + length]) if number != _GRAPH else b""
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if place >= len(message):
            raise ValueError("cut off inside a number")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("a number of more than 64 bits")
