"""What travels with every model file: what it takes, what it gives, what the labels mean and where it came from.

The manifest is JSON in the ONNX metadata under `edgeseg.manifest`, and stands beside an engine as
`NAME.engine.json`. This module knows the fields and checks them; it reads no model files.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.errors import ModelError, nearest
from edgeseg.types import ClassInfo

METADATA_KEY = "edgeseg.manifest"
ENGINE_SUFFIX = ".engine"
# What a model with memory takes beside the picture: uint8 [N, height, width], its own last answer, zeros at first.
PREVIOUS = "previous_probability"
FORMAT_VERSION = 1
TASKS = ("semantic", "instance")
INSTANCE_OUTPUTS = ("boxes", "scores", "classes", "masks")
FITS = ("stretch", "letterbox")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model's contract.

    Attributes:
        name: the model's name ("person").
        classes: class map, ids from 0 upwards without a gap; 0 is the background of two-class and instance models.
        height: rows of the input `image`, pixels.
        width: columns of the input `image`, pixels.
        task: "semantic" or "instance".
        fit: how a frame becomes height x width: "stretch" or "letterbox"; tiled models cut it at its own scale.
        color_order: channel order of the input; always "BGR".
        outputs: names of the file's outputs, in order.
        output_height: rows of `label_map`; less than `height` for unpadded networks.
        output_width: columns of `label_map`.
        offset: (row, column) of the output's first pixel in the input.
        threshold: foreground probability from which a two-class label is 1, or score from which an instance counts.
        max_detections: rows of an instance model's outputs; 0 for semantic models.
        memory: the file takes `previous_probability` too, which it is fed from its own last output.
        precision: "fp32", "fp16" or "int8": how the file's weights and activations are typed.
        architecture: the registry's name and arguments of the network, to build it again in training.
        origin: where the file came from: recipe, seed, revision, training data, parent's hash, calibration.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    height: int
    width: int
    task: str = "semantic"
    fit: str = "stretch"
    color_order: str = "BGR"
    outputs: tuple[str, ...] = ("label_map",)
    output_height: int = 0
    output_width: int = 0
    offset: tuple[int, int] = (0, 0)
    threshold: float = 0.5
    max_detections: int = 0
    memory: bool = False
    precision: str = "fp32"
    architecture: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.output_height == 0:
            object.__setattr__(self, "output_height", self.height)
        if self.output_width == 0:
            object.__setattr__(self, "output_width", self.width)
        for key, allowed in (("task", TASKS), ("fit", FITS), ("color_order", ("BGR",)), ("precision", PRECISIONS)):
            if getattr(self, key) not in allowed:
                raise ModelError(f"manifest: bad {key}", getattr(self, key), f"Use one of {', '.join(allowed)}")
        if [info.id for info in self.classes] != list(range(len(self.classes))) or not self.classes:
            seen = [info.id for info in self.classes]
            raise ModelError("manifest: class ids have a gap", seen, "Number the classes 0, 1, 2 and so on")
        if min(self.height, self.width, self.output_height, self.output_width) < 1:
            raise ModelError("manifest: bad size", f"{self.height}x{self.width}", "Sizes are at least 1 pixel")

    @property
    def two_class(self) -> bool:
        """True where the file also gives `probability`, the foreground's share of 255."""
        return "probability" in self.outputs

    @property
    def tiled(self) -> bool:
        """True for a model that answers for the middle of its input only: frames are cut into overlapping tiles."""
        return (self.output_height, self.output_width) != (self.height, self.width)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by id."""
        return tuple(info.name for info in self.classes)

    def to_json(self) -> str:
        """The manifest as JSON with sorted keys, so that equal manifests are equal text."""
        body = dataclasses.asdict(self) | {"format_version": FORMAT_VERSION}
        return json.dumps(body, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: object = "") -> Manifest:
        """Read a manifest; unknown keys, a newer format and bad values are a ModelError that names `where`."""
        try:
            body = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelError("the manifest is no JSON", f"{where} ({error})", "Export the model again") from None
        if not isinstance(body, dict) or body.pop("format_version", None) != FORMAT_VERSION:
            raise ModelError("the manifest has another format version", where, "Export the model with this edgeseg")
        known = {item.name for item in dataclasses.fields(cls)}
        for key in body:
            if key not in known:
                raise ModelError(f"the manifest of {where} has an unknown key", key, nearest(key, known))
        try:
            body["classes"] = tuple(ClassInfo(c["id"], c["name"], tuple(c["color"])) for c in body["classes"])
            body["outputs"] = tuple(body.get("outputs", ("label_map",)))
            body["offset"] = tuple(body.get("offset", (0, 0)))
            return cls(**body)
        except (KeyError, TypeError) as error:
            raise ModelError("the manifest lacks a field", f"{where} ({error})", "Export the model again") from None


def beside(engine: Path) -> Path:
    """Where an engine's manifest lies: `NAME.engine.json`."""
    return engine.with_name(engine.name + ".json")
