"""Memory that a training step gives back stays with the process, so that the next step need not fetch it again."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h> of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks for reuse.

    By default it hands every block above 32 MiB straight back to the system and asks for it again at the next step; the
    system then clears it page by page. Feature maps are such blocks.

    Returns:
        Whether the C library took it; only the GNU one (Linux) knows these settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # A trim threshold of -1 is the largest there is.
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
