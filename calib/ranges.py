"""The table of ranges: what calibration found, with a fingerprint of model, frames and method."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.errors import InputError, ModelError, OutputError

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of a model's activations.

    Attributes:
        tensors: tensor name -> (low, high), finite.
        method: the observer's name.
        model_sha256: of the model file that was observed.
        model_name: as its manifest says.
        frames: where they came from: source, split, stride, count, seed, and `sha256`, one a frame; `live` for a source
            that was not a file, `drawn` where its pictures were drawn.
        edgeseg_version: of the edgeseg that wrote the table.
        channels: map [N, C, H, W] -> largest magnitude of each channel, with which `edgeseg.export.equalize_graph`
            makes small ones larger; empty where the network is to stay as it is.
    """

    tensors: Mapping[str, tuple[float, float]]
    method: str
    model_sha256: str
    model_name: str
    frames: Mapping[str, Any]
    edgeseg_version: str
    channels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """sha256 over all fields: equal tables have equal fingerprints."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the table as JSON, aside first; OutputError where that is impossible."""
        path = Path(path)
        body = {"format_version": FORMAT_VERSION, **asdict(self), "fingerprint": self.fingerprint}
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError("cannot write the ranges", f"{path} ({error.strerror})", "Choose another place") from None

    @classmethod
    def load(cls, path: Path | str) -> Ranges:
        """Read a table.

        Raises:
            InputError: the file cannot be read.
            ModelError: it is no table of ranges, of another format, or was changed after it was written.
        """
        todo = "Run edgeseg calibrate again"
        try:
            body = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError("cannot read the ranges", f"{path} ({error.strerror})", "Check the path") from None
        except ValueError as error:
            raise ModelError("the table of ranges is no JSON", f"{path} ({error})", todo) from None
        try:
            if body.pop("format_version") != FORMAT_VERSION:
                raise ModelError("the table of ranges has another format version", path, todo)
            fingerprint = body.pop("fingerprint")
            body["tensors"] = {name: (float(low), float(high)) for name, (low, high) in body["tensors"].items()}
            body["channels"] = {name: tuple(float(one) for one in own) for name, own in body["channels"].items()}
            ranges = cls(**body)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError("not a table of ranges", f"{path} ({type(error).__name__}: {error})", todo) from None
        if ranges.fingerprint != fingerprint:
            raise ModelError("the table of ranges was changed after calibration", path, todo)
        return ranges

    def check(self, model_path: Path | str) -> None:
        """ModelError unless the table was made from exactly this model file."""
        if file_sha256(model_path) != self.model_sha256:
            seen = f"{model_path} is not the file of {self.model_name} that was calibrated"
            raise ModelError("stale or foreign ranges", seen, "Run edgeseg calibrate on this file")


def file_sha256(path: Path | str) -> str:
    """sha256 of a file's bytes; InputError where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError("cannot read the model", f"{path} ({error.strerror})", "Check the path") from None
