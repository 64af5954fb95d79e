"""The one place that knows where the shared data lies: `EDGESEG_SHARED`, by default `../shared`."""

from __future__ import annotations

import os
from pathlib import Path


def shared_root() -> Path:
    """Folder of the data that every developer and CI have; it may be absent on a user's machine."""
    return Path(os.environ.get("EDGESEG_SHARED", "../shared"))
