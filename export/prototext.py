"""Protobuf's text format, as much of it as the configurations of other runtimes need; it takes no protobuf package.

A message is a mapping of field names to values: a mapping is a message in it, a list of mappings one message each, a
list of numbers a short list, `Symbol` an enumerator. The format: https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


class Symbol(str):
    """A word that stands without quotes."""


def render(message: Message, indent: int = 0) -> str:
    """A message in text, a field a line, each line indented by `indent` steps of two blanks."""
    margin = "  " * indent
    lines = []
    for name, value in message.items():
        each = value if isinstance(value, list) and value and isinstance(value[0], Mapping) else [value]
        for item in each:
            if isinstance(item, Mapping):
                inner = render(item, indent + 1)
                lines.append(f"{margin}{name} {{\n{inner}{margin}}}\n" if inner else f"{margin}{name} {{ }}\n")
            else:
                lines.append(f"{margin}{name}: {_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: object) -> str:
    if isinstance(value, list):
        return f"[ {', '.join(_scalar(item) for item in value)} ]"
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def quoted(text: str) -> str:
    r"""A string literal: quotes and backslashes escaped, control characters in octal ("\012" for a line's end)."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if ord(sign) >= 32 else f"\\{ord(sign):03o}" for sign in plain) + '"'
