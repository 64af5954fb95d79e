"""Where the plugin library of `cpp_ext` lies."""

from __future__ import annotations

import os
from pathlib import Path

from edgeseg.errors import InputError

LIBRARY = "libedgeseg_plugin.so"
_PACKAGE = Path(__file__).resolve().parents[2]
# Installed with the package; in a checkout, made by `make ext`.
PLACES = (_PACKAGE / "lib" / LIBRARY, _PACKAGE.parent / "build" / LIBRARY)


def find_library() -> Path | None:
    """The library's path, or None where there is none.

    Looked for in `$EDGESEG_PLUGIN` (a file), in the installed package, in the checkout's `build` (`make ext`).

    Raises:
        InputError: `$EDGESEG_PLUGIN` names no file.
    """
    named = os.environ.get("EDGESEG_PLUGIN")
    if named:
        if not Path(named).is_file():
            raise InputError("no such plugin library", named, "Correct EDGESEG_PLUGIN, or unset it")
        return Path(named)
    return next((path for path in PLACES if path.is_file()), None)
