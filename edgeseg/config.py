"""From plain values, as YAML gives them, to frozen dataclasses: unknown keys and wrong kinds are errors."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from edgeseg.errors import UsageError, nearest


def from_mapping(kind: type[Any], body: Any, where: str) -> Any:
    """Build a frozen dataclass from plain values, inner dataclasses and tuples included."""
    if not isinstance(body, Mapping):
        raise UsageError(f"{where} is no mapping", body, "Write keys and values")
    hints = typing.get_type_hints(kind)
    for key in body:
        if key not in hints:
            raise UsageError(f"unknown key in {where}", key, nearest(str(key), hints))
    try:
        return kind(**{key: convert(hints[key], value, f"{where}: {key}") for key, value in body.items()})
    except TypeError as error:
        raise UsageError(f"{where} is incomplete", error, "Add what is missing") from None


def convert(hint: Any, value: Any, where: str) -> Any:
    """One value as its type hint wants it; UsageError where it is of another kind."""
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if len(arguments) == 2 and arguments[1] is type(None):
        return None if value is None else convert(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{where} is no list", value, "Write it in brackets")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(value):
            raise UsageError(f"{where} has the wrong length", value, f"Give {len(kinds)} values")
        return tuple(convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise UsageError(f"{where} is no {hint.__name__}", value, "Correct the value")
    if hint is float:
        raise UsageError(f"{where} is no number", value, "Correct the value")
    return value
