"""The sources of `edgeseg run`: words of the command line, and cameras that a YAML file describes.

    cameras:
      - source: rtsp://me:secret@10.0.0.7/stream1
        name: door                # in figures, JSON lines and messages; the source itself unless given
        transport: udp
      - source: 0
        policy: all

A camera's keys are the options of `edgeseg run` that concern one source, and come before those of the command line.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.config import convert
from edgeseg.errors import EdgeSegError, InputError, UsageError, nearest
from edgeseg.packages import missing_package

if TYPE_CHECKING:
    from edgeseg.runtime.sources import RawFormat, Source, StreamOptions

SUFFIXES = (".yaml", ".yml")
_ADVICE = "Write cameras: and below it a list, each with source: and what else belongs to it"


@dataclass(frozen=True, slots=True)
class Camera:
    """One source and how it is read.

    Attributes:
        source: as `open_source` takes it; a path is relative to where the command runs.
        name: what it is called; None for the source itself.
        transport, decode, open_timeout_s, stall_timeout_s, retry_s, max_frames, policy, smooth, max_age_ms: as the
            options.
        where: file and line that describe it.
        raw: a `RawFormat`, what frames on standard input are.

    Raises:
        UsageError: a value that its option would not take either.
    """

    source: str
    name: str | None = None
    transport: str = "tcp"
    decode: str = "auto"
    open_timeout_s: float = 10.0
    stall_timeout_s: float = 5.0
    retry_s: float = 1.0
    max_frames: int | None = None
    policy: str | None = None
    smooth: str | None = None
    max_age_ms: float | None = None
    where: str = ""
    raw: Any = None

    def __post_init__(self) -> None:
        from edgeseg.runtime.pipeline import POLICIES
        from edgeseg.runtime.temporal import Smoother

        self._options()
        if self.policy is not None and self.policy not in POLICIES:
            raise UsageError("unknown policy", self.policy, nearest(self.policy, POLICIES))
        if self.smooth is not None:
            Smoother.parse(self.smooth)
        if self.max_age_ms is not None and not self.max_age_ms >= 1:
            raise UsageError("the budget for the age of results is below 1 ms", self.max_age_ms, "Give milliseconds")
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError("the number of frames is below 1", self.max_frames, "Give at least 1, or leave it out")

    def open(self) -> Source:
        """The source; errors are those of `open_source`, with `where` before them."""
        from edgeseg.runtime.sources import open_source

        try:
            source = open_source(self.source, self.max_frames, self._options())
        except EdgeSegError as error:
            if not self.where:
                raise
            raise type(error)(f"{self.where}: {error.cause}", error.seen, error.todo) from None
        source.name = self.name or source.name
        return source

    def _options(self) -> StreamOptions:
        from edgeseg.runtime.sources import StreamOptions
        from edgeseg.runtime.sources.resilient import Patience

        patience = Patience(self.open_timeout_s, self.stall_timeout_s, self.retry_s)
        return StreamOptions(self.transport, patience, self.decode, self.raw)


def expand(words: Sequence[str], args: argparse.Namespace, raw: RawFormat | None = None) -> list[Camera]:
    """Each word as a camera with the options of the command line; a YAML file stands for the cameras in it.

    Args:
        words: sources.
        args: of `edgeseg run`.
        raw: what frames on standard input are.

    Raises:
        InputError: such a file cannot be read, or is no YAML.
        UsageError: it has an unknown key, a wrong value, or no camera; file, line and key are named.
    """
    options = {key: getattr(args, key) for key in _keys() if hasattr(args, key)}
    cameras: list[Camera] = []
    for word in words:
        if word.lower().endswith(SUFFIXES):
            cameras += read(Path(word), options)
        else:
            cameras.append(Camera(word, **options, raw=raw))
    return cameras


def read(path: Path, options: dict[str, Any]) -> list[Camera]:
    """The cameras of a file; `options` are for keys that it leaves out. Errors: see `expand`."""
    listed = _listed(path)
    if not listed:
        raise UsageError("the file describes no camera", path, _ADVICE)
    cameras = [_camera(path, node, options) for node in listed]
    names = [camera.name for camera in cameras if camera.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two cameras in {path} have one name", name, "Give each a name of its own")
    return cameras


def _listed(path: Path) -> list[Any]:
    """The nodes of YAML that stand in the list; nodes know their lines."""
    try:
        import yaml
    except ImportError as error:
        raise missing_package(error) or error from None
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError("the file is no YAML", f"{path}{line} ({error.problem})", "Correct it there") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError("cannot read the file of cameras", f"{path} ({reason})", "Check its path") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise UsageError("the file of cameras has no keys", _place(path, root), _ADVICE)
    for key, value in root.value:
        if key.value != "cameras":
            raise UsageError(f"{_place(path, key)}: unknown key", key.value, nearest(key.value, ("cameras",)))
        if not isinstance(value, yaml.SequenceNode):
            raise UsageError(f"{_place(path, key)}: cameras is no list", "", _ADVICE)
        return list(value.value)
    return []


def _camera(path: Path, node: Any, options: dict[str, Any]) -> Camera:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{_place(path, node)}: a camera has keys", node.value, "Write - source: and the source")
    hints, found = _keys(), dict[str, Any]()
    for key, value in node.value:
        name, place = str(key.value), f"{_place(path, key)}: {key.value}"
        if name not in hints:
            raise UsageError(f"{_place(path, key)}: unknown key", name, nearest(name, hints))
        if name in found:
            raise UsageError(f"{_place(path, key)}: the key stands there twice", name, "Leave one out")
        try:
            found[name] = convert(hints[name], _plain(value, hints[name]), place)
            # What a value must be is known to whoever takes it.
            Camera(**{"source": "", **options, name: found[name]})
        except yaml.YAMLError:
            raise UsageError(f"{place} is no plain value", value.tag, "Write a number or a word") from None
        except UsageError as error:
            cause = error.cause if error.cause.startswith(place) else f"{place}: {error.cause}"
            raise UsageError(cause, error.seen, error.todo) from None
    if not found.get("source"):
        raise UsageError(f"{_place(path, node)}: the camera has no source", "", "Add source: and what names it")
    return Camera(**{**options, **found, "where": _place(path, node)})


def _plain(node: Any, hint: Any) -> Any:
    """The value of a node. What is to be a word may look like a number: the camera 0."""
    from yaml.constructor import SafeConstructor

    value = SafeConstructor().construct_object(node, deep=True)
    is_word = hint is str or str in typing.get_args(hint)
    return node.value if is_word and type(value) in (int, float) else value


def _place(path: Path, node: Any) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _keys() -> dict[str, Any]:
    return {key: hint for key, hint in typing.get_type_hints(Camera).items() if key not in ("where", "raw")}
