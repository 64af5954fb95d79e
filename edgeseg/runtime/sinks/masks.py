"""Label maps as PNG files: one lossless 8-bit picture a frame, the class id as value."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from edgeseg.errors import OutputError
from edgeseg.runtime.sinks.base import cannot_write, check_folder, write_aside
from edgeseg.types import Result

WHAT = "the masks"


class Masks:
    """Writes FOLDER/000000.png and up, numbered by the frame's place in its source, at each frame's own size.

    Files of an earlier run are replaced where numbers meet, and otherwise left alone.

    Args:
        folder: where to; made if missing, its parent must be there.
        classes: ids to keep, others become 0; all when None.

    Raises:
        OutputError: the folder cannot be made or written to; also from `write`.
    """

    def __init__(self, folder: str | Path, classes: Collection[int] | None = None) -> None:
        self._folder = Path(folder)
        if self._folder.exists() and not self._folder.is_dir():
            raise OutputError(f"cannot write {WHAT}", f"{folder} is a file", "Name a folder")
        if not self._folder.exists():
            check_folder(self._folder.parent, WHAT)
            try:
                self._folder.mkdir()
            except OSError as error:
                raise cannot_write(WHAT, folder, error) from None
        check_folder(self._folder, WHAT)
        self._table = None
        if classes is not None:
            self._table = np.zeros(256, np.uint8)
            for number in classes:
                self._table[number] = number

    def write(self, result: Result) -> None:
        """Write one label map."""
        import cv2

        label_map = result.label_map if self._table is None else self._table[result.label_map]
        # PNG is lossless at any level; level 1 is the quick one.
        done, data = cv2.imencode(".png", label_map, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        path = self._folder / f"{result.frame.number:06d}.png"
        if not done:
            raise OutputError("cannot encode a mask as PNG", path, "Report this with the frame's size")
        try:
            write_aside(path, data.tobytes())
        except OSError as error:
            raise cannot_write(WHAT, path, error) from None

    def close(self) -> None:
        """Nothing is left to do: each file is whole when `write` returns."""
