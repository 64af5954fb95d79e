"""From the JSON of the benchmarks to Markdown: what README, the tables and the cards have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from common import RESULTS


def load(name: str) -> dict[str, Any]:
    """A result file; {} where it was not made yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def machine_line(body: Mapping[str, Any]) -> str:
    """The machine in words, for the line above a table."""
    machine = body.get("machine", {})
    cpu = machine.get("cpu", {})
    name = cpu.get("model", cpu) if isinstance(cpu, Mapping) else cpu
    return f"{name}, {len(body['cores_used'])} cores" if "cores_used" in body else str(name)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def accuracy_tables(figures: Mapping[str, Any]) -> list[str]:
    """The figures of one split: those of all classes together, then those of each class."""
    single = {key: value for key, value in figures.items() if isinstance(value, float)}
    each = {key: value for key, value in figures.items() if isinstance(value, Mapping) and key != "counts"}
    made = [
        table(["all together", "%"], [[key.replace("_", " "), f"{100 * value:.2f}"] for key, value in single.items()])
    ]
    if each:
        classes = next(iter(each.values()))
        lines = [
            [name, *("–" if found[name] is None else f"{100 * found[name]:.2f}" for found in each.values())]
            for name in classes
        ]
        made.append(table(["class", *(key.replace("_", " ") for key in each)], lines))
    if "counts" in figures:
        score, iou, *numbers = figures["counts"].items()
        told = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in numbers)
        made.append(f"Of {figures['instances']} instances, from score {score[1]:g} and IoU {iou[1]:g} on: {told}.")
    return made
