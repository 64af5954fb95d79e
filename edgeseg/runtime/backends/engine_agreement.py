"""The first load of an engine on a device: it must say of its golden frame what ONNX Runtime said when it was built."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.runtime.backends.base import first_inputs
from edgeseg.runtime.backends.cache import KEPT_ENGINES, cache_folder, trim, write_aside
from edgeseg.runtime.backends.engine_file import EngineFile
from edgeseg.runtime.notices import warn

AT_LEAST = 0.995  # share of pixels with the same label

Infer = Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[Any]]]


def check_agreement(engine: EngineFile, infer: Infer, device: str) -> float | None:
    """Run the golden frame, unless this engine did so on this device before.

    Args:
        engine: with `golden_frame` and `golden_labels`, PNG in base64; without them nothing is checked.
        infer: runs the engine.
        device: what it runs on, with the library's version.

    Returns:
        The share of pixels with the same label; None where nothing was run.

    Raises:
        ModelError: fewer than 99.5 % of the pixels agree.
    """
    frame, labels = engine.built.get("golden_frame"), engine.built.get("golden_labels")
    key = hashlib.sha256(f"{engine.sha256} {device}".encode()).hexdigest()[:16]
    mark = cache_folder() / "engines" / f"{key}.agreed"
    if not frame or not labels or mark.is_file():
        return None
    found = infer(first_inputs(engine.manifest, _picture(frame)[np.newaxis]))["label_map"][0]
    share = float((found == _picture(labels)).mean())
    if share < AT_LEAST:
        seen = f"{engine.path} ({100 * share:.2f} % of the golden frame's pixels, on {device})"
        todo = "Build it again, in another precision if that does not help, and report it"
        raise ModelError("the engine does not agree with ONNX Runtime", seen, todo)
    try:
        write_aside(mark, f"{share:.6f} {device}\n".encode())
        trim(mark.parent, "*.agreed", KEPT_ENGINES)
    except OSError as error:
        warn(f"cannot keep that the engine was checked: {mark} ({error.strerror}); the next start checks again")
    return share


def _picture(text: str) -> npt.NDArray[np.uint8]:
    import cv2

    content = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), np.uint8)
