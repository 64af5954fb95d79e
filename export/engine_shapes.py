"""Which batches and sizes an engine takes: those asked for, where its file leaves them open."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import ModelError, UsageError
from edgeseg.export.shape import STEP_KEY, computes_remainders, shape_of
from edgeseg.manifest import Manifest

Size = tuple[int, int]  # height, width


def profile(
    model: Path, library: str, manifest: Manifest, batch: tuple[int, int, int], sizes: tuple[Size, Size] | None
) -> tuple[tuple[int, int, int], tuple[Size, Size, Size]]:
    """Smallest, usual and largest batch and (height, width) of an engine; UsageError where the file does not take them.

    Args, raises: as `edgeseg.export.build_engine.build_engine`.
    """
    from edgeseg.calib.model_file import read_model

    proto, _ = read_model(model)
    shape = shape_of(proto)
    usual = (manifest.height, manifest.width)
    if shape.batch is not None:
        if max(batch) not in (1, shape.batch):
            todo = "Leave --max-batch out, or export the file with --batch dynamic"
            raise UsageError(f"the file takes {shape.batch} pictures a call", max(batch), todo)
        batch = (shape.batch,) * 3
    if sizes is None:
        return batch, (usual, usual, usual)
    if not shape.free_size:
        todo = "Export the file with --dynamic-size, or leave --sizes out"
        raise UsageError(f"the file takes {usual[0]}x{usual[1]} alone", model, todo)
    smallest, largest = sizes
    step = int(manifest.origin.get(STEP_KEY, 1))
    if library == "tensorrt-rtx" and smallest != largest and computes_remainders(proto):
        todo = f"Export it with --dynamic-size and a --size in multiples of {2 * step}"
        raise ModelError("TensorRT-RTX builds one size of a network that rounds its maps up", model, todo)
    if any(not low <= one <= high for low, one, high in zip(smallest, usual, largest, strict=True)):
        seen = f"{smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]}"
        raise UsageError("the sizes do not hold the usual one", seen, f"{usual[0]}x{usual[1]} must lie between them")
    for size in sizes:
        if size[0] % step or size[1] % step:
            seen = f"{size[0]}x{size[1]}"
            raise UsageError(f"the network takes multiples of {step} pixels", seen, "Give other --sizes")
    return batch, (smallest, usual, largest)
