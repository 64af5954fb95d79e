"""Opens models with TensorRT and TensorRT-RTX: engines, or ONNX files by an engine that is built once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.manifest import ENGINE_SUFFIX
from edgeseg.runtime.backends.engine_backend import EngineBackend
from edgeseg.runtime.backends.engine_cache import cached_engine, rebuild
from edgeseg.runtime.backends.engine_file import EngineMisfit, check_library, read_engine_file
from edgeseg.runtime.backends.gpu import Gpu, open_gpu
from edgeseg.runtime.backends.model_file import read_model_file


def open_tensorrt(model: Path, device: str | None, precision: str | None) -> EngineBackend:
    """See `open_engine`."""
    import tensorrt

    return open_engine(model, device, precision, "tensorrt", tensorrt)


def open_tensorrt_rtx(model: Path, device: str | None, precision: str | None) -> EngineBackend:
    """See `open_engine`."""
    import tensorrt_rtx

    return open_engine(model, device, precision, "tensorrt-rtx", tensorrt_rtx)


def open_engine(
    model: Path, device: str | None, precision: str | None, name: str, library: Any, gpu: Gpu | None = None
) -> EngineBackend:
    """Load a model with an imported library; errors as `edgeseg.runtime.backends.load_backend`.

    Args:
        model: an engine with its manifest, or an ONNX file.
        device: a number of a GPU.
        precision: of the engine that is built from an ONNX file; as the file is typed when None.
        name: "tensorrt" or "tensorrt-rtx".
        library: its module.
        gpu: the device, where somebody opened it; closed with the backend, or here where this raises.
    """
    version = str(library.__version__)
    engine = read_engine_file(model) if model.suffix == ENGINE_SUFFIX else None
    if engine is not None:  # what does not fit is said before a GPU is asked for
        check_library(engine, name, version)
    gpu = gpu or open_gpu(device, name)
    try:
        if engine is not None:
            return EngineBackend(engine, library, gpu)
        wanted = precision or read_model_file(model).manifest.precision
        place = cached_engine(model, name, version, wanted, f"{gpu.name}, {gpu.compute_capability}")
        try:
            return EngineBackend(read_engine_file(place), library, gpu)
        except EngineMisfit as error:  # damaged in the cache, which is ours to mend
            rebuild(error.engine)
            return EngineBackend(read_engine_file(place), library, gpu)
    except BaseException:
        gpu.close()
        raise
