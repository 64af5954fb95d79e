"""How arguments are read: a parser whose errors are UsageErrors, and types that say what they wanted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection
from typing import NoReturn

from edgeseg.errors import UsageError, nearest

# Beyond these, which no device has room for, sizes overflow inside libraries.
MOST_PICTURES = 4096


class HelpText(argparse.RawDescriptionHelpFormatter):
    """Help with room for our option names, its examples laid out as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        cause, colon, seen = message.partition(": ")
        if not colon:
            cause, seen = "wrong usage", message
        raise UsageError(cause, seen, f"See {self.prog} --help")

    def refuse_unknown(self, extras: list[str]) -> None:
        """Raise a UsageError for arguments that nothing took, naming the nearest option."""
        if not extras:
            return
        word = extras[0]
        if not word.startswith("-"):
            raise UsageError("one argument too many", word, f"See {self.prog} --help")
        options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        raise UsageError("unknown option", word, nearest(word.partition("=")[0], options))


def one_of(what: str, allowed: Collection[str]) -> Callable[[str], str]:
    """An argument type: one word of `allowed`."""

    def read(text: str) -> str:
        if text not in allowed:
            raise UsageError(f"unknown {what}", text, nearest(text, allowed))
        return text

    return read


def number(what: str, low: float, high: float = float("inf")) -> Callable[[str], float]:
    """An argument type: a number from `low` to `high`, both included."""
    bounds = f"from {low:g} to {high:g}" if high != float("inf") else f"of at least {low:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (low <= value <= high and math.isfinite(value)):
            raise UsageError(f"bad {what}", text, f"Give a number {bounds}")
        return value

    return read


def whole(what: str, low: int, high: float = float("inf")) -> Callable[[str], int]:
    """An argument type: a whole number from `low` to `high`, both included."""
    bounds = f"from {low} to {high:.0f}" if high != float("inf") else f"of at least {low}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise UsageError(f"bad {what}", text, f"Give a whole number {bounds}")
        return value

    return read


def names(text: str) -> tuple[str, ...]:
    """An argument type: words separated by commas."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise UsageError("an empty list of names", repr(text), "Give names with commas between them")
    return words


def size(text: str) -> tuple[int, int]:
    """An argument type: HEIGHTxWIDTH in pixels."""
    return _two_sides(text, "HEIGHTxWIDTH", "144x256")


def across_by_down(text: str) -> tuple[int, int]:
    """An argument type: WIDTHxHEIGHT in pixels, as cameras and FFmpeg write it."""
    return _two_sides(text, "WIDTHxHEIGHT", "1280x720")


def size_range(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """An argument type: two sizes, HEIGHTxWIDTH in pixels, the smaller one first."""
    first, comma, second = text.partition(",")
    if not comma:
        raise UsageError("bad sizes", text, "Give the smallest and the largest, such as 128x128,512x640")
    return size(first), size(second)


def batch(text: str) -> int | None:
    """An argument type: a number of pictures, or the word dynamic, which is None."""
    return None if text == "dynamic" else whole("batch", 1, MOST_PICTURES)(text)


def _two_sides(text: str, form: str, example: str) -> tuple[int, int]:
    first, _, second = text.partition("x")
    if not (first.isdecimal() and second.isdecimal() and int(first) and int(second)):
        raise UsageError("bad size", text, f"Give {form} in pixels, such as {example}")
    return int(first), int(second)


def add_json(parser: argparse.ArgumentParser, option: str = "--json") -> None:
    """The option for figures as JSON."""
    parser.add_argument(option, metavar="OUT", help="write the figures as JSON to OUT; - is standard output")


def add_model(parser: argparse.ArgumentParser, every: bool = False) -> None:
    """The options that say which model runs and on what; with `every`, backend and precision may be 'all'."""
    more = "|all" if every else ""
    parser.add_argument(
        "--model", default="person", metavar="NAME|FILE", help="a shipped model, an .onnx file or an .engine"
    )
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help=f"auto|onnxruntime|openvino|tensorrt|tensorrt-rtx{more}; auto measures once (default), the last two build "
        "an engine once",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="P",
        type=one_of("precision", ("auto", "fp32", "fp16", "int8", *(["all"] if every else []))),
        help=f"auto|fp32|int8{more}, fp16 for engines; of a shipped model (default auto)",
    )
    parser.add_argument("--device", metavar="D", help="the backend's device: CPU, or the number of a GPU")
    if not every:
        parser.add_argument(
            "--rebuild", action="store_true", help="build an engine that does not fit again, from its ONNX file"
        )
