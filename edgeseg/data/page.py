"""The report of an evaluation as one HTML page beside its pictures: figures, bars, confusion matrix, worst pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from edgeseg.metrics import Matrix
from edgeseg.types import ClassInfo

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24; }
h1, h2 { font-weight: 600; } table { border-collapse: collapse; } th { font-weight: 500; text-align: left; }
td, th { padding: .2rem .6rem; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #e8eaed; width: 24rem; height: .8rem; } .bar div { height: 100%; }
.matrix td { text-align: right; min-width: 2.6rem; } .matrix th.c { writing-mode: vertical-rl; }
figure { margin: 1rem 0; } figure img { max-width: 100%; } figcaption { color: #57606a; }
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of the report: its file beside the page, and what stands under it."""

    file: str
    caption: str


def page(
    title: str, figures: dict[str, Any], classes: Sequence[ClassInfo], matrix: Matrix, worst: Sequence[Shown]
) -> str:
    """The page's text.

    Args:
        title: heading.
        figures: `EvalReport.to_dict()`; its single numbers make a table, `iou` the bars.
        classes: the model's class map.
        matrix: int64 [classes, classes], pixels by true and given class.
        worst: pictures, worst first.
    """
    single = {key: value for key, value in figures.items() if isinstance(value, (int, float, str))}
    rows = "".join(f"<tr><th>{escape(key)}</th><td class=n>{_shown(value)}</td></tr>" for key, value in single.items())
    pictures = "".join(
        f'<figure><img src="{escape(item.file)}" alt="{escape(item.caption)}" loading="lazy">'
        f"<figcaption>{escape(item.caption)}</figcaption></figure>"
        for item in worst
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><table>{rows}</table>"
        f"<h2>IoU of each class</h2><table>{_bars(figures['iou'], classes)}</table>"
        f"<h2>What each true class was called, in % of its pixels</h2>{_confusion(matrix, classes)}"
        f"<h2>Worst pictures: picture, result, truth</h2>{pictures}</body></html>\n"
    )


def _bars(iou: dict[str, float | None], classes: Sequence[ClassInfo]) -> str:
    rows = []
    for info in classes:
        value = iou[info.name]
        blue, green, red = info.color
        # A background drawn in black is still a bar on a light page.
        bar = f"background: rgb({red},{green},{blue}); width: {100 * (value or 0):.1f}%"
        rows.append(
            f'<tr><th>{escape(info.name)}</th><td><div class=bar><div style="{bar}"></div></div></td>'
            f"<td class=n>{_shown(value)}</td></tr>"
        )
    return "".join(rows)


def _confusion(matrix: Matrix, classes: Sequence[ClassInfo]) -> str:
    shares = 100 * matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    head = "".join(f"<th class=c>{escape(info.name)}</th>" for info in classes)
    lines = []
    for info, row in zip(classes, shares, strict=True):
        cells = "".join(f'<td style="background: rgba(31,111,235,{share / 100:.3f})">{share:.1f}</td>' for share in row)
        lines.append(f"<tr><th>{escape(info.name)}</th>{cells}</tr>")
    return f"<table class=matrix><tr><th>true / given</th>{head}</tr>{''.join(lines)}</table>"


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
