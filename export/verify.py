"""The same frames through files and engines of one network, on every runtime here: how far apart, and from which node.

reference (on its first runtime) -> against each other stage: errors of the logits, share of equal labels,
and mIoU of each where there is a truth
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg import metrics
from edgeseg.calib.frames import FrameSet
from edgeseg.errors import ModelError, UsageError
from edgeseg.export.bisect import NodeError, node_errors, parting
from edgeseg.export.stages import Stage, full_size, open_stages, sha256_of
from edgeseg.manifest import ENGINE_SUFFIX, Manifest
from edgeseg.runtime.segmenter import Segmenter
from edgeseg.types import Image, LabelMap

MIN_AGREEMENT = 0.99
Frame = tuple[Image, LabelMap | None]


@dataclass(slots=True)
class Comparison:
    """One stage against the reference, over all frames.

    Attributes:
        file, runtime: the stage.
        max_error, mean_error: of the logits, absolute; None for instance models, and for engines that give no logits.
        agreement: share of pixels with the reference's label, at the frame's own size.
        miou: against the truth; None where there is none.
    """

    file: str
    runtime: str
    max_error: float | None = None
    mean_error: float | None = None
    agreement: float = 1.0
    miou: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found.

    Attributes:
        reference: the stage that all are compared with.
        frames: number of frames.
        stages: the comparisons.
        notes: what the files say of each other: a hash that differs, other classes.
        parts_at: where the candidate's graph parts from the reference's; None where it does not, or nobody asked.
        nodes: the largest errors of single nodes, where asked for.
    """

    reference: Comparison
    frames: int
    stages: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    parts_at: NodeError | None = None
    nodes: tuple[NodeError, ...] = ()

    @property
    def agreement(self) -> float:
        """The lowest of all stages."""
        return min((stage.agreement for stage in self.stages), default=1.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no numbers that are none: those are null."""

        def known(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: known(inner) for key, inner in value.items()}
            if isinstance(value, (list, tuple)):
                return [known(inner) for inner in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        found: dict[str, Any] = known(asdict(self))
        return found

    @property
    def finite(self) -> bool:
        """False where a stage's logits hold something that is no number."""
        return all(math.isfinite(stage.max_error or 0.0) for stage in (self.reference, *self.stages))


def verify(
    reference: Path,
    candidate: Path,
    frames: Sequence[Frame],
    evaluator: bool = False,
    on_frame: Callable[[int], None] | None = None,
    engines: Sequence[Path] = (),
) -> Report:
    """Compare two files, and engines built from them, on frames.

    Args:
        reference: a checkpoint or an ONNX file; runs in torch, or in the first runtime that is installed.
        candidate: another one of the same network, with an input of the same size; it may be an engine.
        frames: uint8 [H, W, 3] BGR, each with its truth uint8 [H, W] or None.
        evaluator: run ONNX files in the reference evaluator, too.
        on_frame: called after each frame with the number of frames so far.
        engines: further stages.

    Raises:
        UsageError: no frames, or the reference is an engine.
        ModelError: a file is none of edgeseg's, they take other inputs or name other classes, or an engine does not
            fit.
        BackendError: an engine cannot run here.
    """
    if reference.suffix == ENGINE_SUFFIX:
        raise UsageError("an engine is what is compared, not the reference", reference, "Give its ONNX file first")
    if not frames:
        raise UsageError("no frames to compare on", reference, "Give a folder or a clip")
    others = [candidate, *engines]
    with ExitStack() as stack:
        # Engines first: what does not fit, or has no GPU, is said before a network is loaded.
        opened = [stack.enter_context(open_stages(path, evaluator)) for path in reversed([reference, *others])][::-1]
        stages = [stage for part in opened for stage in part]
        hashes = [sha256_of(reference), sha256_of(candidate)]
        notes: list[str] = []
        for part in opened[1:]:
            notes += _check(opened[0][0], part[0], hashes)
        segmenters = [Segmenter(stage.backend) for stage in stages]
        sums = [_Sums(stage, len(stage.manifest.classes)) for stage in stages]
        for number, (image, truth) in enumerate(frames, 1):
            answers = [_answer(stage, segmenter, image) for stage, segmenter in zip(stages, segmenters, strict=True)]
            for total, answer in zip(sums, answers, strict=True):
                total.add(answer, answers[0], truth)
            if on_frame:
                on_frame(number)
        found = [total.comparison() for total in sums]
    return Report(found[0], len(frames), tuple(found[1:]), tuple(notes))


def bisect(reference: Path, candidate: Path, frames: Sequence[Frame]) -> tuple[NodeError | None, list[NodeError]]:
    """The first node of the candidate whose own error its precision does not explain, and all nodes, worst first.

    Args:
        reference: an ONNX file, or a checkpoint, which is exported for it.
        candidate: an ONNX file.
        frames: as for `verify`.
    """
    from edgeseg.calib.model_file import read_model
    from edgeseg.export.equalize_graph import apply_steps, steps_of
    from edgeseg.export.from_checkpoint import CHECKPOINT_SUFFIXES, load_for_export
    from edgeseg.export.instances import build_instances
    from edgeseg.export.to_onnx import build
    from edgeseg.runtime.preprocess import Preprocessor

    check_searchable(candidate)
    model, manifest = read_model(candidate)
    if reference.suffix in CHECKPOINT_SUFFIXES:
        network, wanted = load_for_export(reference, (manifest.height, manifest.width))
        known = build_instances(network, wanted) if wanted.task == "instance" else build(network, wanted)
    else:
        known, wanted = read_model(reference)
    _check_alike(wanted, manifest)
    # A file's channels may have been equalized: then they are in the reference, too, in which it changes nothing.
    done, before = steps_of(model), steps_of(known)
    if {name: values.tolist() for name, values in done.items()} != {n: v.tolist() for n, v in before.items()}:
        if before:
            todo = "Give the fp32 file as the reference"
            raise ModelError("the two files were equalized each in its own way", f"{reference}, {candidate}", todo)
        apply_steps(known.graph, done)
    prepare = Preprocessor(manifest)
    errors = node_errors(known, model, [prepare(image)[0][:1] for image, _ in frames])
    worst = sorted(errors, key=lambda item: -math.inf if math.isnan(item.error) else -item.error)
    return parting(errors, manifest.precision), worst


def check_searchable(candidate: Path) -> None:
    """Raise UsageError where `bisect` cannot look into a candidate: a checkpoint, an engine."""
    from edgeseg.export.from_checkpoint import CHECKPOINT_SUFFIXES

    if candidate.suffix in (*CHECKPOINT_SUFFIXES, ENGINE_SUFFIX):
        raise UsageError("only a file's nodes can be searched", candidate, "Give an ONNX file as the candidate")


def read_frames(source: Path, split: str | None, count: int, names: Sequence[str]) -> list[Frame]:
    """Frames of a folder or a clip, at most `count`; those of a data set's split have a truth in class ids of `names`.

    Raises:
        InputError: the source is missing, empty or unreadable.
    """
    from edgeseg.calib.frames import sample
    from edgeseg.data.evaluate import truth_reader
    from edgeseg.data.folder import list_samples, read_pair

    if split is None:
        return [(image, None) for image in FrameSet(source, count=count).images()]
    samples = list_samples(source, split)
    _, truth_of = truth_reader(source, samples, names)
    pairs = [read_pair(item) for item in sample(samples, count, 0)]
    return [(image, truth_of(mask)) for image, mask in pairs]


@dataclass(frozen=True, slots=True)
class _Answer:
    label_map: LabelMap
    logits: npt.NDArray[np.float32] | None


@dataclass(slots=True)
class _Sums:
    stage: Stage
    classes: int
    largest: float = 0.0
    errors: float = 0.0
    values: int = 0
    same: int = 0
    pixels: int = 0
    matrix: metrics.Matrix | None = field(default=None)

    def add(self, answer: _Answer, reference: _Answer, truth: LabelMap | None) -> None:
        if answer.logits is not None and reference.logits is not None:
            difference = np.abs(answer.logits - reference.logits)
            # A value that is no number stays one, other than with max().
            self.largest = float(np.maximum(self.largest, difference.max()))
            self.errors += float(difference.sum(dtype=np.float64))
            self.values += difference.size
        self.same += int((answer.label_map == reference.label_map).sum())
        self.pixels += answer.label_map.size
        if truth is not None:
            one = metrics.confusion_matrix(truth, answer.label_map, self.classes)
            self.matrix = one if self.matrix is None else self.matrix + one

    def comparison(self) -> Comparison:
        miou = None if self.matrix is None else float(metrics.mean_iou(self.matrix))
        mean = self.errors / self.values if self.values else None
        largest = self.largest if self.values else None
        return Comparison(self.stage.file, self.stage.runtime, largest, mean, self.same / self.pixels, miou)


def _answer(stage: Stage, segmenter: Segmenter, image: Image) -> _Answer:
    """One frame through one stage: labels at the frame's size, logits [C, H, W] of its first input."""
    inputs, geometry = segmenter.preprocess(image)
    parts = [stage.infer(inputs[k : k + 1]) for k in range(len(inputs))]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    logits = None
    if stage.logits:
        channels = 1 if stage.manifest.two_class else len(stage.manifest.classes)
        logits = full_size(outputs[stage.logits][:1], channels)
    return _Answer(segmenter.postprocess(outputs, geometry).label_map, logits)


def _check(first: Stage, other: Stage, hashes: Sequence[str]) -> list[str]:
    """Notes on a file beside the reference; ModelError where the two cannot be compared.

    Args:
        first: the reference.
        other: the file.
        hashes: sha256 of the reference and of the candidate.
    """
    _check_alike(first.manifest, other.manifest)
    origin, key = other.manifest.origin, "parent_sha256"
    if first.runtime == "torch":
        # An int8 file remembers the checkpoint of the file that it was made from.
        parent = origin.get("checkpoint_sha256")
    else:
        parent = dict(origin.get("quantization", {})).get(key) or origin.get(key)
    # An engine was made from a file that may be neither of the two, but come from the reference itself.
    parents = [name for name in (dict(origin.get("engine", {})).get("onnx_sha256"), parent) if name]
    if parents and not any(name in hashes for name in parents):
        seen = f"sha256 {parents[0][:12]}, {first.file} has {hashes[0][:12]}"
        return [f"{other.file} was made from another file ({seen})"]
    return []


def _check_alike(one: Manifest, other: Manifest) -> None:
    for what, mine, theirs in (
        ("inputs", (one.height, one.width, one.fit), (other.height, other.width, other.fit)),
        ("classes", one.class_names, other.class_names),
        ("tasks", one.task, other.task),
    ):
        if mine != theirs:
            raise ModelError(f"the two files have other {what}", f"{mine} and {theirs}", "Export both alike")
