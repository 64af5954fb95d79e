"""classes.txt: what the values of a set's label maps mean, and which class of a model each one is.

A line is `NAME`, `VALUE NAME` or `VALUE NAME R G B`; without a value the line's place counts, from 0. `#` begins a
comment. Names such as "void" or "unlabelled" mark values that are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.errors import InputError
from edgeseg.types import IGNORE_INDEX, LabelMap

FILE = "classes.txt"
VOID = frozenset({"void", "unlabelled", "unlabeled", "ignore", "ignored", "unknown"})


@dataclass(frozen=True, slots=True)
class ListedClass:
    """One line: the value in the files, the name, and the colour (BGR) where the line has one."""

    value: int
    name: str
    color: tuple[int, int, int] | None = None

    @property
    def void(self) -> bool:
        """Whether pixels of this value are not counted."""
        return self.name.lower() in VOID


def read_classes(root: Path) -> tuple[ListedClass, ...]:
    """The classes that `root/classes.txt` lists; none where there is no such file.

    Raises:
        InputError: the file cannot be read, a line cannot, or a value or name stands twice.
    """
    path = root / FILE
    if not path.is_file():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the class list", f"{path} ({error})", "Write it as UTF-8 text") from None
    found: list[ListedClass] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            found.append(_listed(words, len(found), f"{path}, line {number}"))
    for what in ("value", "name"):
        seen = [str(getattr(item, what)).lower() for item in found]
        twice = next((text for text in seen if seen.count(text) > 1), None)
        if twice is not None:
            raise InputError(f"a class {what} stands twice in the list", f"{twice} in {path}", "Make them distinct")
    return tuple(found)


def label_table(listed: Sequence[ListedClass], names: Sequence[str], root: Path) -> LabelMap:
    """uint8 [256]: the class id of each value in the files, by name; 255 for void and for values that are not listed.

    Args:
        listed: by `read_classes`.
        names: of the model's classes, by id.
        root: the set's folder, for the error.

    Raises:
        InputError: a listed class that the model does not have.
    """
    ids = {name.lower(): number for number, name in enumerate(names)}
    table = np.full(256, IGNORE_INDEX, np.uint8)
    for item in listed:
        if item.void:
            continue
        if item.name.lower() not in ids:
            seen = f"{item.name} in {root / FILE}; the model has {', '.join(names)}"
            raise InputError("the set has a class that the model has not", seen, "Take another set or model")
        table[item.value] = ids[item.name.lower()]
    return table


def _listed(words: list[str], place: int, where: str) -> ListedClass:
    value = int(words.pop(0)) if words[0].isdecimal() and len(words) > 1 else place
    color = None
    if len(words) > 3 and all(word.isdecimal() and int(word) < 256 for word in words[-3:]):
        red, green, blue = (int(word) for word in words[-3:])
        color, words = (blue, green, red), words[:-3]
    if value >= IGNORE_INDEX:
        raise InputError("a class value is too large", f"{value} in {where}", "Values are 0 to 254; 255 is ignored")
    return ListedClass(value, " ".join(words), color)
