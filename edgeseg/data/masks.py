"""Label maps and pictures from files, whatever their form, with errors that name the file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InputError
from edgeseg.types import Image, LabelMap

_PNG = b"\x89PNG\r\n\x1a\n"
_INDEXED = 3


def read_image(path: Path, page: int = 0) -> Image:
    """uint8 [H, W, 3] BGR; `page` of a TIFF stack. A file that cannot be decoded is an InputError that names it."""
    import cv2

    image = _decoded(path, cv2.IMREAD_COLOR, page)
    if image is None:
        raise InputError("not a readable picture", path, "Replace the file or take it out of the split")
    return image


def read_mask(path: Path, size: tuple[int, int] | None = None, page: int = 0) -> LabelMap:
    """uint8 [H, W] of values, as a rule class ids.

    Args:
        path: a picture of 8 bits and one channel, or an indexed PNG, whose indices are the values.
        size: (height, width) it must have; None for any.
        page: of a TIFF stack.

    Raises:
        InputError: unreadable, more than one channel, not 8 bit, or of another size.
    """
    import cv2

    palette = _palette(path)
    mask = _decoded(path, cv2.IMREAD_COLOR if palette is not None else cv2.IMREAD_UNCHANGED, page)
    if mask is not None and palette is not None:
        mask = _indices(mask, palette, path)
    if mask is None or mask.ndim != 2 or mask.dtype != np.uint8:
        seen = "unreadable" if mask is None else f"{mask.dtype} {mask.shape}"
        raise InputError("not a label map", f"{path} ({seen})", "Use PNG, 8 bit, one channel, the class id as value")
    return of_size(mask, path, size)


def of_size(mask: LabelMap, path: Path, size: tuple[int, int] | None) -> LabelMap:
    """The mask itself; an InputError where it has not `size` (height, width)."""
    if size is not None and mask.shape != size:
        raise InputError(
            "label map and picture differ in size", f"{path} {mask.shape}, picture {size}", "Make them equal"
        )
    return mask


def count_pages(path: Path) -> int:
    """Pictures in a TIFF stack; InputError where it cannot be read."""
    import cv2

    _read_bytes(path)
    count = cv2.imcount(str(path))
    if count < 1:
        raise InputError("not a readable stack of pictures", path, "Replace the file")
    return int(count)


def _decoded(path: Path, mode: int, page: int) -> npt.NDArray[np.uint8] | None:
    import cv2

    raw = _read_bytes(path)
    if page:
        done, pages = cv2.imreadmulti(str(path), start=page, count=1, flags=mode)
        return pages[0] if done and len(pages) else None  # type: ignore[return-value]
    data = np.frombuffer(raw, np.uint8)
    return cv2.imdecode(data, mode) if data.size else None  # type: ignore[return-value]


def _palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """The colours of an indexed PNG, uint8 [n, 3] BGR; None for any other file. OpenCV gives colours, never indices."""
    raw = _read_bytes(path)
    if not raw.startswith(_PNG) or len(raw) < 33 or raw[25] != _INDEXED:
        return None
    place = len(_PNG)
    while place + 8 <= len(raw):
        length, kind = struct.unpack(">I4s", raw[place : place + 8])
        if kind == b"PLTE":
            colours = np.frombuffer(raw[place + 8 : place + 8 + length], np.uint8)
            return colours[: len(colours) // 3 * 3].reshape(-1, 3)[:, ::-1]
        place += 12 + length
    return None


def _indices(image: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8], path: Path) -> LabelMap:
    """Each pixel's place in the palette; of equal colours the first."""
    codes = _codes(image)
    known, first = np.unique(_codes(palette), return_index=True)
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)
    if not np.array_equal(known[place], codes):
        raise InputError("a colour is not in the file's palette", path, "Write the label map again")
    found: LabelMap = first[place].astype(np.uint8)
    return found


def _codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    wide = colours.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "cannot read the file", f"{path} ({error.strerror})", "Check the path and its permissions"
        ) from None
