"""Engines as a backend: inputs into a slot's memory, one recorded graph a call, and a wait that sleeps.

infer   upload, engine, download                  one after the other: the picture is as new as it can be
begin   upload                                    on a second stream, while the engine is at an earlier picture
                engine, download
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ModelError
from edgeseg.runtime.backends.base import Arrays, Backend, Signature, check_batch, check_inputs, check_signature
from edgeseg.runtime.backends.device_arrays import DeviceArray, on_device
from edgeseg.runtime.backends.engine_agreement import check_agreement
from edgeseg.runtime.backends.engine_file import EngineFile, check_device, check_library
from edgeseg.runtime.backends.engine_library import LoadedEngine
from edgeseg.runtime.backends.engine_memory import Shapes, Slot
from edgeseg.runtime.backends.gpu import Gpu
from edgeseg.runtime.notices import info

# Two may be lent to whoever fills them, or be begun; the last one always takes what lies elsewhere.
_LENT = 2


class EngineBackend(Backend):
    """See `Backend`. Inputs may lie on the GPU already: anything with `__cuda_array_interface__` or DLPack.

    Args:
        engine: the file.
        library: the module `tensorrt` or `tensorrt_rtx`.
        gpu: the device; closed with the backend, and by the caller where this raises.

    Raises:
        EngineMisfit: the engine does not fit library or device.
        ModelError: it cannot be loaded, or does not agree with ONNX Runtime.
        BackendError: the GPU has too little memory.
    """

    def __init__(self, engine: EngineFile, library: Any, gpu: Gpu) -> None:
        version = str(library.__version__)
        check_library(engine, engine.library, version)
        check_device(engine, gpu.compute_capability, gpu.name)
        self.name, self.manifest, self.device = engine.library, engine.manifest, f"{gpu.ordinal} ({gpu.name})"
        self._gpu = gpu
        self._loaded: LoadedEngine | None = None
        self._slots: list[Slot] = []
        self._free: deque[Slot] = deque()
        # For what takes a slot out; what brings one back needs none.
        self._taking = threading.Lock()
        try:
            with gpu.bound():
                self._loaded = LoadedEngine(engine, library, gpu)
                self._tensors = self._loaded.tensors
                self._inputs, outputs = self._signature(True), self._signature(False)
                context_bytes = self._loaded.context_bytes
                check_signature(engine.path, engine.manifest, self._inputs, outputs)
                check_batch(engine.path, self._inputs["image"][1][0], 1)
                for _ in range(_LENT + 1):
                    self._slots.append(Slot(gpu, self._tensors))
            self._free.extend(self._slots)
            # Sizes that vary would need a graph each.
            self._records = gpu.has_graphs and self._loaded.fixed and not self._loaded.records_itself
            check_agreement(engine, self.infer, f"{self.device}, {version}")
        except BaseException:
            self._release()
            raise
        self.details: dict[str, Any] = {
            "version": version,
            "compute_capability": gpu.compute_capability,
            "provider": gpu.provider,
            "integrated": gpu.integrated,
            "cuda_graphs": self._records,
            "inference_precision": engine.manifest.precision,
            "context_bytes": context_bytes,
        }

    def infer(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """See `Backend.infer`."""
        self._check_open()
        slot = self._slot_for(inputs.get("image"))
        assert slot is not None
        return self._fetch(slot, self._start(slot, inputs, beside=False))

    def begin(self, inputs: Arrays) -> Callable[[], dict[str, npt.NDArray[Any]]] | None:
        """See `Backend.begin`: up to two calls, whose inputs lie on the host."""
        self._check_open()
        if any(on_device(value, self._gpu.stream) for value in inputs.values()):
            return None
        slot = self._slot_for(inputs.get("image"), spare=1)
        if slot is None:
            return None
        shapes = self._start(slot, inputs, beside=True)

        def outputs() -> dict[str, npt.NDArray[Any]]:
            self._check_open()
            return self._fetch(slot, shapes)

        return outputs

    def borrow_input(self) -> npt.NDArray[np.uint8] | None:
        """See `Backend.borrow_input`: pinned memory, on an integrated GPU the very bytes that the engine reads."""
        with self._taking:
            slot = self._free.popleft() if len(self._free) > 1 else None
        return None if slot is None else slot.array("image", (1, self.manifest.height, self.manifest.width, 3))

    def close(self) -> None:
        """See `Backend.close`."""
        if self._loaded is not None:
            with self._gpu.bound():
                self._gpu.wait()  # for what was begun and never fetched
            self._release()
            self._gpu.close()

    def _check_open(self) -> None:
        if self._loaded is None:
            raise ModelError("the backend is closed", self.manifest.name, "Load the model again")

    def _release(self) -> None:
        with self._gpu.bound():
            for slot in self._slots:
                slot.close()
            self._slots.clear()
            self._free.clear()
            if self._loaded is not None:
                self._loaded.close()
        self._loaded = None

    def _signature(self, inputs: bool) -> Signature:
        return {n: (t.dtype.name, t.shape) for n, t in self._tensors.items() if t.is_input is inputs}

    def _check_sizes(self, placed: Mapping[str, Any]) -> None:
        for name, value in placed.items():
            most = self._tensors[name].largest
            if any(size > limit for size, limit in zip(value.shape, most, strict=True)):
                todo = f"Give at most {list(most)}, or build with a larger --max-batch or --sizes"
                raise ModelError("the engine was not built for this size", f"{name} {list(value.shape)}", todo)

    def _slot_for(self, image: Any, spare: int = 0) -> Slot | None:
        """The slot in which the picture lies already, or a free one; None where only `spare` of those are left."""
        with self._taking:
            for slot in self._slots:
                if isinstance(image, np.ndarray) and not slot.busy and slot.owns(image, "image"):
                    if slot in self._free:  # given for a second call
                        self._free.remove(slot)
                    return slot
            return self._free.popleft() if len(self._free) > spare else None

    def _start(self, slot: Slot, inputs: Arrays, beside: bool) -> Shapes:
        """Queue a call in a slot; the shapes of all tensors in it. After an error the slot is free again."""
        assert self._loaded is not None
        try:
            placed = {name: on_device(value, self._gpu.stream) or value for name, value in inputs.items()}
            check_inputs(placed, self._inputs)
            self._check_sizes(placed)
            foreign = {name: value for name, value in placed.items() if isinstance(value, DeviceArray)}
            with self._gpu.bound():
                for name, value in placed.items():
                    if not isinstance(value, DeviceArray):
                        slot.fill(name, value)
                    elif value.stream is not None:
                        self._gpu.wait_for(value.stream)
                shapes = self._loaded.shapes({name: tuple(value.shape) for name, value in placed.items()})
                self._run(self._loaded, slot, shapes, foreign, beside)
                slot.mark, slot.busy = self._gpu.mark(slot.mark), True
        except BaseException:
            self._free.append(slot)
            raise
        return shapes

    def _fetch(self, slot: Slot, shapes: Shapes) -> dict[str, npt.NDArray[Any]]:
        """Wait for what was queued in a slot, and free it."""
        try:
            with self._gpu.bound():
                self._gpu.wait(slot.mark)
        finally:
            slot.busy = False
            self._free.append(slot)
        return {name: slot.array(name, shapes[name]) for name in self.manifest.outputs}

    def _run(
        self, loaded: LoadedEngine, slot: Slot, shapes: Shapes, foreign: Mapping[str, DeviceArray], beside: bool
    ) -> None:
        """Queue one call: as the slot's graph, which is recorded at its second run, or plainly."""
        sizes = {name: prod(shapes[name]) * tensor.dtype.itemsize for name, tensor in self._tensors.items()}
        # An integrated GPU uploads nothing, so its calls are all of one kind.
        inside = not beside or self._gpu.integrated
        if not inside:
            slot.upload({name: sizes[name] for name in self._inputs}, beside=True)
            self._gpu.wait_for_uploads()
        slot.runs[inside] += 1
        # The first run of a context allocates, which cannot be recorded; another one's addresses are not the graph's.
        if self._records and slot.runs[inside] > 1 and not foreign:
            if inside not in slot.graphs:
                self._record(loaded, slot, sizes, inside)
            if inside in slot.graphs:
                self._gpu.launch(slot.graphs[inside])
                return
        self._queue(loaded, slot, sizes, foreign, inside)

    def _record(self, loaded: LoadedEngine, slot: Slot, sizes: Mapping[str, int], inside: bool) -> None:
        try:
            self._gpu.begin_capture()
            try:
                self._queue(loaded, slot, sizes, {}, inside)
            finally:
                graph = self._gpu.end_capture()
            slot.graphs[inside] = graph
        except Exception as error:  # whatever the driver or the library has against it: it runs without
            self._records = False
            info(f"{self.name} runs without CUDA graphs: {error}")

    def _queue(
        self,
        loaded: LoadedEngine,
        slot: Slot,
        sizes: Mapping[str, int],
        foreign: Mapping[str, DeviceArray],
        inside: bool,
    ) -> None:
        if inside:
            slot.upload({name: sizes[name] for name in self._inputs if name not in foreign})
        loaded.enqueue({n: foreign[n].address if n in foreign else slot.address(n) for n in self._tensors})
        slot.download({name: size for name, size in sizes.items() if name not in self._inputs})
