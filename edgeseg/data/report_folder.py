"""A report on disk: the worst pictures, each beside result and truth, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from edgeseg.data.page import Shown
from edgeseg.errors import OutputError
from edgeseg.types import Image

WORST = 10


def write_report(
    folder: Path, strips: Iterable[tuple[Shown, Sequence[Image]]], text_of: Callable[[Sequence[Shown]], str]
) -> None:
    """Write the pictures and index.html.

    Args:
        folder: made if missing.
        strips: file, caption, and the pictures uint8 [H, W, 3] BGR of one size that stand side by side in it.
        text_of: the page's text, of what was written.

    Raises:
        OutputError: the folder cannot be written.
    """
    import cv2

    try:
        folder.mkdir(parents=True, exist_ok=True)
        shown = []
        for item, pictures in strips:
            (folder / item.file).write_bytes(cv2.imencode(".png", np.hstack(list(pictures)))[1].tobytes())
            shown.append(item)
        (folder / "index.html").write_text(text_of(shown), encoding="utf-8")
    except OSError as error:
        raise OutputError("cannot write the report", f"{folder} ({error.strerror})", "Choose another folder") from None
