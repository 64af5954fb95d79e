"""One model, ready to run: a picture in, a result out, or the three stages of that for the pipeline's threads."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgeSegError, ModelError, UsageError
from edgeseg.manifest import PREVIOUS, Manifest
from edgeseg.runtime.backends.base import first_inputs
from edgeseg.runtime.batcher import Batcher
from edgeseg.runtime.geometry import Geometry
from edgeseg.runtime.loading import load_files, of_precision, runs_engines
from edgeseg.runtime.postprocess import Answer, Postprocessor
from edgeseg.runtime.postprocess_instances import InstancePostprocessor
from edgeseg.runtime.preprocess import Preprocessor, as_bgr
from edgeseg.runtime.tiling import Tiling
from edgeseg.runtime.zoo import find_model
from edgeseg.types import ClassInfo, Frame, Image, Result

if TYPE_CHECKING:
    from edgeseg.runtime.backends.base import Backend
    from edgeseg.runtime.backends.choice import Choice

Outputs = Mapping[str, npt.NDArray[Any]]
DEADLINE_MS = 5.0


class Segmenter:
    """Segments pictures with one backend. Threads may share it; inference goes one at a time.

    Args:
        backend: a loaded model; closed with the segmenter.
        threshold: foreground probability from which a label is 1, for two-class models, or score from which an instance
            counts; the manifest's unless given.
        choice: how backend and precision were chosen, where something chose.
        batcher: gathers the pictures of several threads for one call; closed with the segmenter.

    Raises:
        UsageError: a threshold outside 0 to 1, or for a model without probability.
        ModelError: a kind of model that this version cannot run.
    """

    def __init__(
        self,
        backend: Backend,
        threshold: float | None = None,
        choice: Choice | None = None,
        batcher: Batcher | None = None,
    ) -> None:
        self.backend = backend
        self.choice = choice
        self.batcher = batcher
        self.manifest: Manifest = backend.manifest
        self._preprocess = Preprocessor(self.manifest)
        self._postprocess: Postprocessor | InstancePostprocessor
        if self.manifest.task == "instance":
            self._postprocess = InstancePostprocessor(self.manifest, threshold)
        else:
            self._postprocess = Postprocessor(self.manifest, threshold)
        self._lock = threading.Lock()
        self._warm = self._closed = False
        self._busy_ms = self._fetched = 0.0

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The model's class map."""
        return self.manifest.classes

    @property
    def threshold(self) -> float:
        """Foreground probability from which a label is 1, or score from which an instance counts."""
        return self._postprocess.threshold

    @property
    def has_probability(self) -> bool:
        """True for two-class models, whose results have a probability map."""
        return self._postprocess.two_class

    @property
    def busy_ms(self) -> float:
        """What the backend took for its last call, of whichever thread, without the wait for it."""
        return self._busy_ms if self.batcher is None else self.batcher.busy_ms

    def __call__(self, frame: Frame | npt.NDArray[Any]) -> Result:
        """Segment one picture.

        Args:
            frame: a Frame, or uint8 [H, W, 3] BGR; [H, W, 4], gray and not contiguous ones are converted.

        Returns:
            The result at the picture's own size.

        Raises:
            InputError: a picture of another data type or shape, or an empty one.
        """
        if not isinstance(frame, Frame):
            frame = Frame(as_bgr(frame), 0, time.monotonic_ns())
        started = time.perf_counter()
        image, geometry = self.preprocess(frame.image)
        prepared = time.perf_counter()
        outputs = self.infer(image)
        inferred = time.perf_counter()
        answer = self.postprocess(outputs, geometry)
        ended = time.perf_counter()
        timings_ms = {
            "preprocess": (prepared - started) * 1e3,
            "inference": (inferred - prepared) * 1e3,
            "postprocess": (ended - inferred) * 1e3,
        }
        return Result(*answer, frame, self.classes, timings_ms)

    def preprocess(self, image: Image) -> tuple[npt.NDArray[np.uint8], Geometry | Tiling]:
        """A frame uint8 [H, W, 3] BGR -> the input uint8 [1 or tiles, height, width, 3], and what undoes that."""
        # What goes into a batch is copied there: memory that was borrowed would not come back.
        lends = self.batcher is None and not self.manifest.tiled
        return self._preprocess(image, self.backend.borrow_input() if lends else None)

    def infer(
        self, image: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The input uint8 [n, height, width, 3] -> what the postprocessor reads, by name, as new arrays.

        Args:
            image: by `preprocess`.
            previous: `probability` uint8 [1, height, width] of the frame before, for a model with memory; None where
                nothing came before.
        """
        names = self._postprocess.outputs
        if self.batcher is not None and len(image) == 1:
            return self.batcher.infer(self._inputs(image, previous), names)
        with self._lock:
            self._check_open()
            started = time.perf_counter()
            # One picture at a time: a backend may have fixed the batch, and a tiled frame may be large.
            parts = self._infer_each([self._inputs(image[k : k + 1], previous) for k in range(len(image))])
            self._busy_ms = (time.perf_counter() - started) * 1e3
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def begin(self, image: npt.NDArray[np.uint8]) -> Callable[[], dict[str, npt.NDArray[Any]]] | None:
        """Start what `infer` does and come back at once; what gives its outputs must be called, once.

        Returns:
            None where backend or model do not work ahead, or not further: call `infer`.
        """
        if self.batcher is not None or self.manifest.memory or len(image) != 1:
            return None
        with self._lock:
            self._check_open()
            begun = time.perf_counter()
            fetch = self.backend.begin(self._inputs(image, None))
        if fetch is None:
            return None

        def outputs() -> dict[str, npt.NDArray[Any]]:
            with self._lock:
                found = self._copied(fetch())
                # The backend came to it when it was done with the one before.
                now = time.perf_counter()
                self._busy_ms, self._fetched = (now - max(begun, self._fetched)) * 1e3, now
                return found

        return outputs

    def _infer_each(self, pictures: Sequence[dict[str, npt.NDArray[Any]]]) -> list[dict[str, npt.NDArray[Any]]]:
        """The outputs for each; where the backend works ahead, the next one is on its way meanwhile."""
        done: list[dict[str, npt.NDArray[Any]]] = []
        begun: deque[Callable[[], dict[str, npt.NDArray[Any]]]] = deque()
        try:
            for inputs in pictures:
                # A single one gains nothing from a second stream.
                fetch = self.backend.begin(inputs) if len(pictures) > 1 else None
                if fetch is not None:
                    begun.append(fetch)
                while len(begun) > (fetch is not None):
                    done.append(self._copied(begun.popleft()()))
                if fetch is None:
                    done.append(self._copied(self.backend.infer(inputs)))
            return [*done, *(self._copied(begun.popleft()()) for _ in range(len(begun)))]
        finally:
            for fetch in begun:  # after an error: their memory must come back
                with suppress(EdgeSegError):
                    fetch()

    def _copied(self, outputs: Outputs) -> dict[str, npt.NDArray[Any]]:
        """What the postprocessor reads. Inside the lock: the backend may reuse its arrays for the next call."""
        for name in self._postprocess.outputs:
            if name not in outputs:
                raise ModelError("the model lacks an output", name, "Export the model again")
        return {name: outputs[name].copy() for name in self._postprocess.outputs}

    def _check_open(self) -> None:
        if self._closed:
            raise ModelError("the segmenter is closed", self.manifest.name, "Load it again")

    def _inputs(
        self, image: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8] | None
    ) -> dict[str, npt.NDArray[Any]]:
        inputs = first_inputs(self.manifest, image)
        return inputs if previous is None else inputs | {PREVIOUS: previous}

    def postprocess(self, outputs: Outputs, geometry: Geometry | Tiling) -> Answer:
        """Outputs and geometry -> label_map and probability (or None), uint8 [H, W] of the frame's size, and instances.

        Arrays that nobody else holds; instances are None for semantic models.
        """
        return self._postprocess(outputs, geometry)

    def warm_up(self) -> None:
        """Run once on a gray picture, unless that was done: first runs load code and allocate, and take far longer."""
        if not self._warm:
            manifest = self.manifest
            size = (2 * manifest.height + 1, 2 * manifest.width + 1)
            # A single tile is enough, and several may take long.
            size = (manifest.output_height, manifest.output_width) if manifest.tiled else size
            self(np.full((*size, 3), 127, np.uint8))
            self._warm = True

    def close(self) -> None:
        """Free the backend, after the inference in progress; may be called again."""
        if self.batcher is not None:
            self.batcher.close()
        with self._lock:
            if not self._closed:
                self._closed = True
                self.backend.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_segmenter(
    model: str | os.PathLike[str] = "person",
    backend: str = "auto",
    precision: str = "auto",
    device: str | None = None,
    threshold: float | None = None,
    rebuild: bool = False,
    batch: int = 1,
    deadline_ms: float = DEADLINE_MS,
) -> Segmenter:
    """Load a model by name or path.

    Args:
        model: a name of the zoo or a path to a model file.
        backend: a backend's name, or "auto": the fastest of those installed, measured once on this machine. "tensorrt"
            and "tensorrt-rtx" build an engine from an ONNX file once, which takes minutes, and keep it.
        precision: "fp32" or "int8", or "auto": the fastest, measured with the backends; for an engine that is built
            also "fp16", and "auto" is int8 where the model has it.
        device: the backend's name for a device; its default when None.
        threshold: foreground probability from which a label is 1, or score from which an instance counts; the model's
            own when None.
        rebuild: an engine file that does not fit this machine is built again, from the ONNX file in its manifest.
        batch: pictures of several threads that may go into one call; a tiled model takes one.
        deadline_ms: how long a picture may wait for others, where `batch` is above 1.

    Raises:
        UsageError: an unknown model name, backend or precision, a threshold outside 0 to 1, a batch that the backend or
            the model does not take.
        InputError: the file does not exist or cannot be read.
        ModelError: the file is corrupt or has no manifest; an engine does not fit this machine.
        BackendError: the backend is not installed or finds no device.
    """
    from edgeseg.runtime.backends import load_backend
    from edgeseg.runtime.backends.choice import choose

    found = find_model(model)
    files = of_precision(found, precision, runs_engines(backend))
    choice = choose(files, None if backend == "auto" else [backend], device)
    loaded = load_files(files, choice, device, rebuild)
    try:
        if batch == 1:
            return Segmenter(loaded, threshold, choice)
        if loaded.manifest.tiled:
            raise UsageError("a tiled model takes one picture a call", loaded.manifest.name, "Leave batches out")
        several = load_backend(files[choice.precision], choice.backend, device, batch=batch)
        return Segmenter(loaded, threshold, choice, Batcher(loaded, several, batch, deadline_ms))
    except BaseException:
        loaded.close()
        raise


def manifest_of(model: str | os.PathLike[str]) -> Manifest:
    """The manifest of a model by name or path, without loading it; errors as `open_segmenter`."""
    from edgeseg.runtime.backends.model_file import read_model_file

    return read_model_file(next(iter(find_model(model).files.values()))).manifest
