"""The models that ship, and what the word after `--model` means: one of their names, or a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.errors import InputError, UsageError, nearest

FOLDER = Path(__file__).resolve().parents[1] / "zoo"
FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
SUFFIXES = (".onnx", ".engine")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model lies.

    Attributes:
        name: a name of the zoo, or the path as it was given.
        files: path by precision; a file that the user named is the only entry, under "file", since its manifest says
            how it is typed.
    """

    name: str
    files: Mapping[str, Path]

    @property
    def from_zoo(self) -> bool:
        """True for a model that ships."""
        return "file" not in self.files


def list_models() -> list[dict[str, Any]]:
    """What ships, by name: {"name", "files": {precision: {"path", "bytes"}}, "card"}; a missing card is {}.

    Raises:
        InputError: a card that is no JSON.
    """
    return [
        {
            "name": name,
            "files": {
                precision: {"path": str(path), "bytes": path.stat().st_size}
                for precision, path in _shipped(name).items()
            },
            "card": _read_card(FOLDER / name / "card.json"),
        }
        for name in _names()
    ]


def find_model(name_or_path: str | os.PathLike[str]) -> ModelFiles:
    """Find a model by its name in the zoo or by its path.

    A word with a slash, or that ends in .onnx or .engine, is a path; so is one that is no shipped name but a file.

    Raises:
        InputError: a path that does not exist or is no file.
        UsageError: a name that is not in the zoo.
    """
    word = os.fspath(name_or_path)
    names = _names()
    if word in names:
        return ModelFiles(word, _shipped(word))
    path = Path(word)
    if path.is_file():
        return ModelFiles(word, {"file": path})
    if isinstance(name_or_path, os.PathLike) or os.sep in word or word.endswith(SUFFIXES):
        cause = "the model is no file" if path.exists() else "the model file does not exist"
        raise InputError(cause, word, f"Give an .onnx file or one of {', '.join(names)}")
    raise UsageError("unknown model", word, nearest(word, names))


def _names() -> list[str]:
    if not FOLDER.is_dir():
        return []
    return sorted(folder.name for folder in FOLDER.iterdir() if _shipped(folder.name))


def _shipped(name: str) -> dict[str, Path]:
    paths = {precision: FOLDER / name / file for precision, file in FILES.items()}
    return {precision: path for precision, path in paths.items() if path.is_file()}


def _read_card(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("the model's card cannot be read", f"{path} ({error})", "Install edgeseg again") from None
    return dict(card)
