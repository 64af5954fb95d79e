"""`edgeseg run --record DIR` and `edgeseg run replay:DIR`: a run is kept, had again, and compared mask for mask."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgeSegError, InputError, LimitError, ModelError, OutputError, UsageError
from edgeseg.runtime.recording import HEAD, PREFIX, Head, file_sha256, mask_digest, read_head

if TYPE_CHECKING:
    from edgeseg.runtime.pipeline import Pipeline
    from edgeseg.runtime.segmenter import Segmenter
    from edgeseg.runtime.sinks.recorder import Recorder
    from edgeseg.runtime.sources import Source
    from edgeseg.runtime.sources.recorded import Recorded
    from edgeseg.types import Result

# Options that masks depend on, with what they are unless given. Those of the recording count in a replay.
SETTINGS = {
    "model": "person",
    "backend": "auto",
    "precision": "auto",
    "device": None,
    "threshold": None,
    "smooth": None,
    "smaller": None,
}
# Beside them in a recording: the hashes of the smaller models.
SMALLER_SHA256 = "smaller_sha256"


class Comparison:
    """A sink that holds each mask against the one of the recording.

    Attributes:
        compared, different: masks so far.
        first_different: number of the first frame with another mask; None while there is none.
    """

    def __init__(self, source: Recorded) -> None:
        self._masks, self._name, self._incomplete = source.masks, source.name, source.head.incomplete
        self.compared = self.different = 0
        self.first_different: int | None = None

    def write(self, result: Result) -> None:
        """Compare one."""
        self.compared += 1
        if mask_digest(result) != self._masks[result.frame_number]:
            self.different += 1
            if self.first_different is None:
                self.first_different = result.frame_number

    def close(self) -> None:
        """Nothing is left to do."""

    def report(self) -> dict[str, Any]:
        """For --stats."""
        kept = {"recorded": len(self._masks), "compared": self.compared, "different": self.different}
        return {**kept, "first_different": self.first_different}

    def judge(self) -> str:
        """A line on masks that are all the same; LimitError, naming the first frame, where one is not."""
        if self.different:
            seen = f"frame {self.first_different} is the first of {self.different} that differ, of {self.compared}"
            todo = f"Was {self._name} recorded on this machine, with these versions of edgeseg and the backend?"
            raise LimitError("the replay differs from its recording", seen, todo)
        early = f"; it ends before its run did: {self._incomplete}" if self._incomplete else ""
        return f"replay: {self.compared} of {len(self._masks)} recorded masks, all identical{early}"


def take_settings(args: argparse.Namespace) -> None:
    """Give a replay the settings of its recording.

    Raises:
        UsageError: a setting that is not the recording's, or something beside a replay that it cannot be with.
        InputError: no recording is there, or a damaged one.
        ModelError: the model has changed since.
    """
    replays = [word for word in args.sources if word.startswith(PREFIX)]
    if not replays:
        return
    if len(args.sources) > 1:
        raise UsageError("a replay runs alone", " ".join(args.sources), "Replay one recording at a time")
    folder = Path(replays[0].removeprefix(PREFIX))
    for option in ("record", "policy", "max_age_ms"):
        if getattr(args, option) is not None:
            raise UsageError(f"a replay takes no --{option.replace('_', '-')}", getattr(args, option), "Leave it out")
    head = read_head(folder)
    if lost := [option for option in SETTINGS if option not in head.settings]:
        seen = f"{folder / HEAD} (no {', '.join(lost)} in settings)"
        raise InputError("the recording's head is damaged", seen, "Restore it from a copy")
    for option, usual in SETTINGS.items():
        # Recordings of before an option was made lack it.
        given, kept = getattr(args, option), head.settings.get(option, usual)
        if given not in (usual, kept):
            todo = f"Leave it out (it was {kept}); for other settings run {folder / 'frames-000.mkv'}"
            raise UsageError("a replay has the settings of its recording", f"--{option} {given}", todo)
        setattr(args, option, kept)
    kept_sha256 = (head.model_sha256, *head.settings.get(SMALLER_SHA256, ()))
    for model, before in zip((args.model, *(args.smaller or ())), kept_sha256, strict=True):
        now = _model_sha256(model, args.precision)
        if now != before:
            seen = f"{model}, SHA-256 {now[:12]} and not {before[:12]}"
            raise ModelError(
                "the model has changed since the recording", seen, "Restore the file that it was made with"
            )


def open_tape(
    args: argparse.Namespace,
    smooth: str | None,
    folder: str | Path | None,
    source: Source,
    segmenters: Sequence[Segmenter],
) -> Recorder | Comparison | None:
    """What records this stream, or compares it, as the user asked; errors as `Recorder`."""
    from edgeseg.machine import describe
    from edgeseg.runtime.sinks.recorder import Recorder
    from edgeseg.runtime.sources.recorded import Recorded

    if isinstance(source, Recorded):
        if len(args.sources) > 1 or smooth != source.head.settings["smooth"]:
            raise UsageError("a replay stands in no file of cameras", source.name, f"edgeseg run {source.name}")
        return Comparison(source)
    if folder is None:
        return None
    settings = {option: getattr(args, option) for option in SETTINGS} | {"smooth": smooth}
    # What ran, where `auto` chose; and a file must be found from any folder.
    segmenter = segmenters[0]
    settings["backend"] = segmenter.backend.name
    settings["precision"] = segmenter.choice.precision if segmenter.choice else segmenter.manifest.precision
    settings["model"] = _from_anywhere(args.model)
    digest = _model_sha256(args.model, settings["precision"])
    if args.smaller:
        settings["smaller"] = [_from_anywhere(model) for model in args.smaller]
        settings[SMALLER_SHA256] = [_model_sha256(model, settings["precision"]) for model in args.smaller]
    return Recorder(folder, Head(source.name, source.live, source.fps, source.unrelated, settings, digest, describe()))


def finish(tapes: Sequence[Recorder | Comparison], pipelines: Sequence[Pipeline], failure: EdgeSegError | None) -> None:
    """After the end of the run: the recordings' counts, and what was dropped last. OutputError; the first one wins."""
    for tape, pipeline in zip(tapes, pipelines, strict=False):
        if isinstance(tape, Comparison):
            continue
        try:
            tape.finish(pipeline.stats.counts())
        except OutputError:
            if failure is None:
                raise


def reports(tapes: Sequence[Recorder | Comparison]) -> Mapping[str, Any]:
    """What --stats says of a replay."""
    return next(({"replay": tape.report()} for tape in tapes if isinstance(tape, Comparison)), {})


def judge(tapes: Sequence[Recorder | Comparison]) -> list[str]:
    """Lines on replays; LimitError where a mask differs."""
    return [tape.judge() for tape in tapes if isinstance(tape, Comparison)]


def _from_anywhere(model: str) -> str:
    from edgeseg.runtime.zoo import find_model

    return model if find_model(model).from_zoo else str(Path(model).resolve())


def _model_sha256(model: str, precision: str) -> str:
    from edgeseg.runtime.zoo import find_model

    files = find_model(model).files
    # An engine in fp16 is built from the fp32 file.
    return file_sha256(files.get(precision) or files.get("file") or files["fp32"])
