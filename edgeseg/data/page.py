"""The report of an evaluation as one HTML page beside its pictures: figures, bars, confusion matrix, worst pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from edgeseg.metrics import Matrix, Shares
from edgeseg.types import ClassInfo

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24; }
h1, h2 { font-weight: 600; } table { border-collapse: collapse; } th { font-weight: 500; text-align: left; }
td, th { padding: .2rem .6rem; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #e8eaed; width: 24rem; height: .8rem; } .bar div { height: 100%; }
.matrix td { text-align: right; min-width: 2.6rem; } .matrix th.c { writing-mode: vertical-rl; }
figure { margin: 1rem 0; } figure img { max-width: 100%; } figcaption { color: #57606a; }
"""
_MASK_COLOR, _BOX_COLOR = (235, 111, 31), (150, 140, 130)  # BGR


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the report: its file beside the page, and what stands under it."""

    file: str
    caption: str


def page(
    title: str, figures: dict[str, Any], classes: Sequence[ClassInfo], matrix: Matrix, worst: Sequence[Shown]
) -> str:
    """The page's text for a model of label maps.

    Args:
        title: heading.
        figures: `EvalReport.to_dict()`; its single numbers make a table, `iou` the bars.
        classes: the model's class map.
        matrix: int64 [classes, classes], pixels by true and given class.
        worst: pictures, worst first.
    """
    names = [info.name for info in classes]
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    cells = [[f"{100 * share:.1f}" for share in row] for row in shares]
    sections = {
        "IoU of each class": _bars([(info.name, figures["iou"][info.name], info.color) for info in classes]),
        "What each true class was called, in % of its pixels": _confusion(names, names, cells, shares),
    }
    return _whole(title, figures, sections, worst)


def instance_page(
    title: str, figures: dict[str, Any], classes: Sequence[ClassInfo], matrix: Matrix, worst: Sequence[Shown]
) -> str:
    """The page's text for a model of instances.

    Args:
        title: heading.
        figures: `InstanceReport.to_dict()`; its precisions and recalls make the bars, its counts and other single
            numbers the table.
        classes: the model's class map.
        matrix: int64 [classes, classes], instances by true and given class; see `edgeseg.data.found`.
        worst: pictures, worst first.
    """
    kinds = {"mask": _MASK_COLOR, "box": _BOX_COLOR}
    bars = [
        (key.replace("_", " "), value, kinds[key.split("_")[0]])
        for key, value in figures.items()
        if key.split("_")[0] in kinds
    ]
    single = {key: value for key, value in figures.items() if key.split("_")[0] not in kinds}
    counts = figures["counts"]
    single |= {key: value for key, value in counts.items() if key not in ("score", "iou")}
    # The background, which is no instance, comes last: what it was taken for, and what was taken for it.
    turned = np.roll(matrix, -1, axis=(0, 1))
    names = [info.name for info in classes[1:]]
    cells = [[str(number) for number in row] for row in turned]
    cells[-1][-1] = ""
    shares = turned / np.maximum(1, turned.sum(axis=1, keepdims=True))
    found = _confusion([*names, "nothing there"], [*names, "missed"], cells, shares)
    sections = {
        "Average precision and recall": _bars(bars),
        f"What each true instance was called, from score {counts['score']:g} and IoU {counts['iou']:g} on": found,
    }
    return _whole(title, single, sections, worst)


def _whole(title: str, figures: dict[str, Any], sections: dict[str, str], worst: Sequence[Shown]) -> str:
    single = {key: value for key, value in figures.items() if isinstance(value, (int, float, str))}
    rows = "".join(f"<tr><th>{escape(key)}</th><td class=n>{_shown(value)}</td></tr>" for key, value in single.items())
    pictures = "".join(
        f'<figure><img src="{escape(item.file)}" alt="{escape(item.caption)}" loading="lazy">'
        f"<figcaption>{escape(item.caption)}</figcaption></figure>"
        for item in worst
    )
    parts = "".join(f"<h2>{escape(heading)}</h2>{body}" for heading, body in sections.items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><table>{rows}</table>{parts}"
        f"<h2>Worst pictures: picture, result, truth</h2>{pictures}</body></html>\n"
    )


def _bars(bars: Sequence[tuple[str, float | None, tuple[int, int, int]]]) -> str:
    """Name, share from 0 to 1, and colour (BGR) of each."""
    rows = []
    for name, value, (blue, green, red) in bars:
        # A background drawn in black is still a bar on a light page.
        bar = f"background: rgb({red},{green},{blue}); width: {100 * (value or 0):.1f}%"
        rows.append(
            f'<tr><th>{escape(name)}</th><td><div class=bar><div style="{bar}"></div></div></td>'
            f"<td class=n>{_shown(value)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _confusion(true: Sequence[str], given: Sequence[str], cells: Sequence[Sequence[str]], shares: Shares) -> str:
    """Names of rows and columns, what stands in each cell, and its share of the row, 0 to 1, as shade."""
    head = "".join(f"<th class=c>{escape(name)}</th>" for name in given)
    lines = []
    for name, texts, row in zip(true, cells, shares, strict=True):
        inner = "".join(
            f'<td style="background: rgba(31,111,235,{share:.3f})">{text}</td>'
            for text, share in zip(texts, row, strict=True)
        )
        lines.append(f"<tr><th>{escape(name)}</th>{inner}</tr>")
    return f"<table class=matrix><tr><th>true / given</th>{head}</tr>{''.join(lines)}</table>"


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
