"""What a backend is, and what all of them do alike: the check of a file against its manifest, and quiet loading."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InputError, ModelError, nearest
from edgeseg.machine import physical_cores
from edgeseg.manifest import PREVIOUS, Manifest

Arrays = Mapping[str, npt.NDArray[Any]]
# Dtype and shape by tensor name; None stands for a size that may vary.
Signature = Mapping[str, tuple[str, tuple[int | None, ...]]]

# Names of the sizes that a model file leaves open: pictures, and rows and columns of a picture.
BATCH, HEIGHT, WIDTH = "N", "H", "W"

# A network small enough for a camera has too little work in a layer to feed more; their hand-shakes then cost time.
_THREADS_AT_MOST = 8


class Backend(Protocol):
    """A loaded model on one runtime and device. One call at a time; whoever shares it takes a lock.

    Attributes:
        name: the backend's name ("openvino").
        device: what it runs on, in the backend's own words ("CPU").
        manifest: the model's contract.
        details: for reports: version of the runtime, threads, inference precision.
        shares_cores: what it began runs on the cores that the caller's threads need meanwhile.
    """

    name: str
    device: str
    manifest: Manifest
    details: Mapping[str, Any]
    shares_cores: bool = False

    def infer(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Run the model once.

        Args:
            inputs: `image` uint8 [1, H, W, 3] BGR, and what else the file takes.

        Returns:
            The manifest's outputs by name, `label_map` uint8 [1, h, w] for one. The arrays may be reused by the next
            call and end with `close()`: copy what is kept.

        Raises:
            InputError: an input is missing, unknown, or of another dtype or shape.
            ModelError: the backend is closed.
        """

    def begin(self, inputs: Arrays) -> Callable[[], dict[str, npt.NDArray[Any]]] | None:
        """Start a call and come back at once: what gives its outputs, to be called once, and before `close()`.

        What is begun runs in order. Meanwhile the next picture can be made ready and begun, so that it is there when
        this one is done. `image` stays as it is until then.

        Args, raises: as `infer`.

        Returns:
            None where the backend does not work ahead, or not further: call `infer`.
        """
        return None

    def borrow_input(self) -> npt.NDArray[np.uint8] | None:
        """Memory that the next `image` may be written into, uint8 [1, height, width, 3], where that saves a copy.

        It is lent until it is given to `infer`; None where there is none, or none is free. Threads may call it.
        """
        return None

    def close(self) -> None:
        """Free the model; may be called again."""

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_threads() -> int:
    """Threads for one inference unless the caller says: the physical cores, at most 8."""
    return min(physical_cores(), _THREADS_AT_MOST)


def check_signature(path: Path, manifest: Manifest, inputs: Signature, outputs: Signature) -> None:
    """Raise ModelError where a file's tensors are not those that its manifest promises."""
    size = (None, manifest.height, manifest.width)
    for name, shape in {"image": (*size, 3), **({PREVIOUS: size} if manifest.memory else {})}.items():
        seen = inputs.get(name)
        if seen is None or seen[0] != "uint8" or not _fits(seen[1], shape):
            text = f"{path} ({name} is {seen or 'missing'}, not {('uint8', shape)})"
            raise ModelError("the model's input is not what its manifest says", text, "Export the model again")
    for name in manifest.outputs:
        if name not in outputs:
            text = f"{path} ({name} is missing, there are {', '.join(outputs)})"
            raise ModelError("the model lacks an output that its manifest names", text, "Export the model again")


def check_batch(path: Path, fixed: int | None, batch: int) -> None:
    """Raise ModelError where a file takes another number of pictures a call; `fixed` is None where it takes any."""
    if fixed not in (None, batch):
        todo = f"Export it with --batch {batch} or --batch dynamic"
        raise ModelError(f"the model takes {fixed} pictures a call, not {batch}", path, todo)


def first_inputs(manifest: Manifest, image: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    """The inputs of a model for `image` uint8 [1, H, W, 3] with nothing before it."""
    nothing = {PREVIOUS: np.zeros((1, manifest.height, manifest.width), np.uint8)} if manifest.memory else {}
    return {"image": image, **nothing}


def check_inputs(inputs: Mapping[str, Any], signature: Signature) -> None:
    """Raise InputError where arrays (whatever has a dtype and a shape) are not what the model takes."""
    if inputs.keys() != signature.keys():
        for name in inputs:
            if name not in signature:
                raise InputError("the model has no such input", name, nearest(name, signature))
        absent = ", ".join(name for name in signature if name not in inputs)
        raise InputError("an input of the model is missing", absent, "Give all inputs")
    for name, (dtype, shape) in signature.items():
        array = inputs[name]
        if array.dtype.name != dtype or not _fits(array.shape, shape):
            wanted = f"{dtype} {['any' if size is None else size for size in shape]}"
            seen = f"{array.dtype} {list(array.shape)}"
            raise InputError(f"the input {name} must be {wanted}", seen, "Use the preprocessor of the model's manifest")


def _fits(seen: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    sizes = zip(seen, wanted, strict=False)
    return len(seen) == len(wanted) and all(a is None or b is None or a == b for a, b in sizes)


def as_input(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in the layout that native code reads without a copy."""
    return np.ascontiguousarray(array)


def first_line(error: Exception) -> str:
    """What a native runtime complains about, in one line of bearable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Places in the runtime's own source code help nobody here.
    told = [line for line in lines if not re.match(r"(Exception from |Check '.*' failed)", line)] or lines
    text = told[0].removesuffix(":").removesuffix(".") if told else type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep native code from writing to standard error: runtimes log there what an exception says anyway.

    It swaps the process's file descriptor 2, so what other threads write meanwhile is lost, too: keep it short.
    """
    try:
        saved = os.dup(2)
    except OSError:  # no standard error: nothing to silence
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
