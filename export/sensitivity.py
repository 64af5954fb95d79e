"""Which layers int8 costs most, and how many of them have to stay in float for a limit to hold.

One sweep: each layer alone in int8, everything else in float. Then the costliest ones stay in float, one, two, four and
so on until the limit holds, and the last step is searched for the smallest number that does.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgeseg.calib.ranges import Ranges
from edgeseg.export.quantize import Quantized, quantize
from edgeseg.runtime.backends.cache import cache_folder, trim, write_aside

Score = Callable[[Path], float]  # what a file is worth, 0 to 1
Quantize = Callable[[Collection[str]], Quantized]  # writes the int8 file with some layers in float
_KEPT = 32  # sweeps in the cache folder


@dataclass(frozen=True, slots=True)
class LayerDrop:
    """What one layer costs.

    Attributes:
        layer: name of its node.
        drop_points: points of the score that are lost with this layer alone in int8; below 0 where it gained.
    """

    layer: str
    drop_points: float


@dataclass(frozen=True, slots=True)
class Limited:
    """An int8 file that was held against a limit.

    Attributes:
        made: what became of the nodes.
        score_fp32, score_int8: of the two files, 0 to 1.
        layers: the sweep, costliest first; empty where the limit held at once.
        kept: layers that stay in float because of it.

    Where the limit does not hold, `drop_points` is above it, and all layers but one are in float.
    """

    made: Quantized
    score_fp32: float
    score_int8: float
    layers: tuple[LayerDrop, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def drop_points(self) -> float:
        """Points lost."""
        return 100 * (self.score_fp32 - self.score_int8)


def limit_drop(
    model: Path,
    out: Path,
    make: Quantize,
    score: Score,
    limit: float,
    sweep: Callable[[Sequence[str]], list[LayerDrop]],
) -> Limited:
    """Write an int8 file that loses at most `limit` points.

    Args:
        model: the fp32 file.
        out: the int8 file, which `make` writes.
        make: quantizes with some layers left in float.
        score: of a file.
        limit: points.
        sweep: finds what each of some layers costs; asked only where the limit does not hold at once.
    """
    whole = score(model)

    def attempt(kept: Collection[str]) -> Limited:
        return Limited(make(kept), whole, score(out))

    best = attempt(())
    if best.drop_points <= limit:
        return best
    layers = sorted(sweep(best.made.int8), key=lambda item: -item.drop_points)
    names = [item.layer for item in layers]

    def keeping(count: int) -> Limited:
        found = attempt(names[:count])
        return Limited(found.made, whole, found.score_int8, tuple(layers), tuple(names[:count]))

    fails, count = 0, 1
    while (best := keeping(count)).drop_points > limit:
        if count >= len(names) - 1:
            return best
        fails, count = count, min(2 * count, len(names) - 1)
    while count - fails > 1:
        middle = (count + fails) // 2
        tried = keeping(middle)
        if tried.drop_points <= limit:
            best, count = tried, middle
        else:
            fails = middle
    # The last attempt may have been one that failed.
    return replace(best, made=make(best.kept))


def sweep_layers(
    model: Path,
    ranges: Ranges,
    layers: Sequence[str],
    score: Score,
    measured_on: str,
    always_float: Collection[str] = (),
    on_layer: Callable[[int, int], None] | None = None,
) -> list[LayerDrop]:
    """What each layer costs alone in int8, in their order.

    Args:
        model: the fp32 file that was calibrated.
        ranges: its table.
        layers: names of convolutions, linear layers and fused steps.
        score: of a file.
        measured_on: says on what `score` looks, see `fingerprint`; the sweep is kept under it and the ranges' own.
        always_float: layers beside those, which stay in float in every attempt.
        on_layer: called after each layer with (done, total).
    """
    key = json.dumps([ranges.fingerprint, measured_on, sorted(layers), sorted(always_float)])
    path = cache_folder() / "sensitivity" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return [LayerDrop(str(item["layer"]), float(item["drop_points"])) for item in body]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: made anew
        pass
    whole, found = score(model), []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "one.int8.onnx"
        for number, layer in enumerate(layers, 1):
            quantize(model, ranges, out, [*always_float, *(other for other in layers if other != layer)])
            found.append(LayerDrop(layer, 100 * (whole - score(out))))
            if on_layer:
                on_layer(number, len(layers))
    try:
        write_aside(path, json.dumps([asdict(item) for item in found], indent=1).encode())
        trim(path.parent, "*.json", _KEPT)
    except OSError:
        pass  # measured again the next time: slower, nothing else
    return found


def fingerprint(data: Path, *more: object) -> str:
    """sha256 over names, sizes and times of a folder's files, and over what else is given."""
    digest = hashlib.sha256(repr(more).encode())
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        known = path.stat()
        digest.update(f"{path.relative_to(data)} {known.st_size} {known.st_mtime_ns}\n".encode())
    return digest.hexdigest()
