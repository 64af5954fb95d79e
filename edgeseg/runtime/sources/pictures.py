"""Pictures of a folder or a pattern as a source, in lexicographic order of their names."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgeseg.errors import InputError
from edgeseg.runtime import notices
from edgeseg.runtime.sources.base import FrameSource
from edgeseg.types import Frame, Image

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Pictures(FrameSource):
    """Each picture is one frame; its number is its place in the list.

    EXIF orientation is applied; gray and 16-bit pictures become 8-bit BGR. A picture that cannot be read is left out
    with a warning and keeps its number, so that one bad file costs a batch job one picture and moves no other.

    Args:
        paths: the files, in the order wanted.
        name: the source as the user named it.
        max_frames: end after so many frames.

    Raises:
        InputError: not one of the files is a picture that can be read.
    """

    unrelated = True

    def __init__(self, paths: Sequence[Path], name: str, max_frames: int | None = None) -> None:
        super().__init__(name, max_frames)
        self._paths = paths
        self._place = 0
        # Read now, so that a folder without a single good picture fails before a model is loaded.
        self._ahead = self._read_next()
        if self._ahead is None:
            seen = f"{name} ({len(paths)} files)" if len(paths) > 1 else name
            raise InputError("no picture can be read", seen, "Open one in an image viewer to see whether it is damaged")

    def _read(self) -> Frame | None:
        frame, self._ahead = self._ahead or self._read_next(), None
        return frame

    def _read_next(self) -> Frame | None:
        while self._place < len(self._paths):
            path, number = self._paths[self._place], self._place
            self._place += 1
            image, problem = read_picture(path)
            if image is not None:
                return Frame(image, number, time.monotonic_ns(), source=self.name, name=path.name)
            if len(self._paths) > 1:
                notices.warn(f"a picture cannot be read: {path} ({problem}). It is left out.")
        return None

    def _release(self) -> None:
        self._ahead = None


def read_picture(path: Path) -> tuple[Image | None, str]:
    """(uint8 [H, W, 3] BGR, "") or (None, what is wrong with the file)."""
    import cv2

    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        return None, error.strerror or str(error)
    if data.size == 0:
        return None, "the file is empty"
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        return None, str(error.err or error)
    return (None, "damaged, or no picture") if image is None else (np.ascontiguousarray(image, np.uint8), "")


def is_picture(path: str | Path) -> bool:
    """True where the name ends like a picture's."""
    return Path(path).suffix.lower() in EXTENSIONS


def in_folder(folder: Path) -> list[Path]:
    """The pictures of a folder by name, links followed, hidden files and other kinds left out.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError("cannot read the folder", f"{folder} ({error.strerror})", "Check its permissions") from None
    found = _pictures(entries)
    if not found:
        raise InputError("the folder holds no pictures", f"{folder} ({len(entries)} other entries)", _LOOKED_FOR)
    return found


def by_pattern(pattern: str) -> list[Path]:
    """The pictures that a shell pattern names, by path; `**` reaches into folders. InputError when there are none."""
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - unlike Path.glob it follows links
    found = _pictures(map(Path, matches))
    if not found:
        seen = f"{pattern} ({len(matches)} other entries)" if matches else pattern
        raise InputError("no picture matches the pattern", seen, _LOOKED_FOR)
    return found


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if is_picture(path) and not path.is_dir()]


_LOOKED_FOR = f"Looked for names that end in {', '.join(EXTENSIONS)}"
