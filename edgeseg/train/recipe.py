"""A training recipe: what a YAML file says, checked and typed.

`key=value` on the command line replaces one value; dots reach inner keys (`optimizer.lr=0.001`). A file may name both
`init` and `encoder_weights`: it starts from `init`, and the other one is for `init=null`. On the command line
`encoder_weights=PATH` asks for a start from the encoder alone and takes `init` back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.config import from_mapping
from edgeseg.data.classes import FILE as CLASSES_FILE
from edgeseg.data.classes import read_classes
from edgeseg.data.memory import Memory
from edgeseg.data.pool import SetConfig
from edgeseg.data.scenes import Scenes
from edgeseg.errors import InputError, UsageError
from edgeseg.train.criterion import LossConfig
from edgeseg.train.half import check_mode
from edgeseg.train.optimizer import OptimizerConfig


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Name in the registry of networks, and its arguments."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training at certain sizes.

    Attributes:
        until: share of all steps at which it ends, up to 1.
        sizes: (height, width) of batches; they take turns.
        batch: samples a step.
    """

    until: float
    sizes: tuple[tuple[int, int], ...]
    batch: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a run depends on, besides the data.

    Attributes:
        name: name of the model that comes out.
        classes: class names by id; where there are none, the classes.txt of the first training set says them.
        colors: BGR colour by id.
        network: what is trained.
        size: (height, width) of the model's input when exported.
        train: data sets to learn from.
        val: data sets to measure on; never test splits.
        steps: optimizer steps in all.
        phases: sizes and batch sizes over the run.
        encoder_weights: ImageNet checkpoint of the encoder, relative to `--data` or to where the command runs; None
            starts fresh.
        init: a checkpoint, an fp32 model file or a shipped model to start from, before `encoder_weights`; None for
            these. A wider network of the same stages is slimmed to this one, and a front of patches is fitted to
            another front.
        teachers: checkpoints, fp32 model files or shipped models; the mean of their probabilities is learned too.
        distill: weight of the teachers' term beside that of the labels.
        freeze_norms: batch norms keep the statistics that the run starts from.
        int8_from: share of the run after which the network trains on rounded weights and activations, as the int8 file
            will have them; 1 never.
        loss: the terms of the loss and their weights.
        ema: decay of the averaged weights, which are the ones that ship.
        amp: type of the forward pass: "bf16" or "fp16" by autocast, "off" float32; "auto" is bf16 where the CPU
            computes in it, else off. Rounded to int8 (`int8_from`) a network computes in float32.
        workers: processes that make samples.
        seed: seed of weights, samples and order.
        scenes: how samples are made.
        memory: what a network with memory is told of the frame before; others have no use for it.
        optimizer: rates and decay.
        checkpoint_every: steps between checkpoints.
        val_every: steps between measurements.
        fit: how a frame becomes the input: "stretch" or "letterbox".
    """

    name: str
    network: NetworkConfig
    size: tuple[int, int]
    train: tuple[SetConfig, ...]
    steps: int
    phases: tuple[Phase, ...]
    classes: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    val: tuple[SetConfig, ...] = ()
    encoder_weights: str | None = None
    init: str | None = None
    teachers: tuple[str, ...] = ()
    distill: float = 1.0
    freeze_norms: bool = False
    int8_from: float = 1.0
    loss: LossConfig = field(default_factory=LossConfig)
    ema: float = 0.999
    amp: str = "auto"
    workers: int = 1
    seed: int = 0
    scenes: Scenes = field(default_factory=Scenes)
    memory: Memory = field(default_factory=Memory)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint_every: int = 250
    val_every: int = 500
    fit: str = "stretch"

    def __post_init__(self) -> None:
        check_mode(self.amp)

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return next((p for p in self.phases if step < p.until * self.steps), self.phases[-1])


def load_recipe(path: Path, overrides: Sequence[str] = (), tell: Callable[[str], None] = lambda line: None) -> Recipe:
    """Read a recipe and apply `key=value` overrides.

    Args:
        path: the YAML file.
        overrides: applied in order.
        tell: gets a line where an override takes back another value of the file.

    Raises:
        InputError: the file cannot be read or is no YAML mapping.
        UsageError: an unknown key (the nearest is named), a missing one, or a value of the wrong kind; overrides that
            name two starts.
    """
    import yaml

    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "cannot read the recipe", f"{path} ({reason})", "Give a YAML file such as recipes/person.yaml"
        ) from None
    if not isinstance(body, dict):
        raise InputError("the recipe is no mapping", path, "Start from recipes/person.yaml")
    for item in overrides:
        key, sign, value = item.partition("=")
        if not sign:
            raise UsageError("not a key=value pair", item, "Write, say, steps=2000 or optimizer.lr=0.001")
        inner = body
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = yaml.safe_load(value)
    if body.get("amp") is False:
        body["amp"] = "off"  # as YAML reads that word without quotes
    _choose_start(body, {item.partition("=")[0] for item in overrides}, tell)
    recipe: Recipe = from_mapping(Recipe, body, str(path))
    return recipe


def _choose_start(body: dict[str, Any], asked: set[str], tell: Callable[[str], None]) -> None:
    """Encoder weights that were asked for take the file's `init` back, which would win over them unseen."""
    if "encoder_weights" not in asked or not (body.get("encoder_weights") and body.get("init")):
        return
    if "init" in asked:
        seen = f"encoder_weights={body['encoder_weights']} init={body['init']}"
        raise UsageError("two starts are given", seen, "Give one of them")
    tell(f"encoder_weights are given, so the recipe's init {body['init']} is left out")
    body["init"] = None


def with_classes(recipe: Recipe, data: Path) -> Recipe:
    """The recipe with its classes: its own, or those that the first training set lists, by value.

    Raises:
        InputError: there is no such folder, or its list cannot be read.
        UsageError: neither says two classes or more.
    """
    if recipe.classes:
        return recipe
    root = data / recipe.train[0].path
    if not root.is_dir():
        raise InputError("data folder not found", root, "Check the path, and --data")
    listed = sorted((item for item in read_classes(root) if not item.void), key=lambda item: item.value)
    if len(listed) < 2:
        todo = f"Write them into the recipe, or one a line into {root / CLASSES_FILE}"
        raise UsageError("no classes are named", recipe.name, todo)
    colors = [item.color for item in listed if item.color is not None]
    known = tuple(colors) if len(colors) == len(listed) else ()
    return dataclasses.replace(recipe, classes=tuple(item.name for item in listed), colors=known)
