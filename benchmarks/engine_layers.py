"""What each layer of a TensorRT engine takes, by its profiler, and the layers of two engines of one file side by side.

TensorRT fuses and renames as it likes, so layers are matched by the nodes of the ONNX file that they are made of, which
an engine built with `detailed` tells. What stands in a function's body counts as the node that calls it.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from edgeseg.runtime.backends.engine_file import EngineFile
from edgeseg.runtime.backends.engine_library import LoadedEngine
from edgeseg.runtime.backends.engine_memory import Slot
from edgeseg.runtime.backends.gpu import Gpu

# "[ONNX Layer: node_of_up | steps.2.fuse (UpsampleCropConcat)]", one behind the other where layers were fused
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_CALLER = re.compile(r"(.+) \([^()]+\)")
# A change of layout, for the sake of a layer.
_REFORMAT = re.compile(r"Reformatting CopyNode for (?:Input|Output) Tensor \d+ to (.+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an engine.

    Attributes:
        name: TensorRT's.
        nodes: names of the ONNX nodes in it; its own name where there are none.
        ms: median time of a call.
    """

    name: str
    nodes: frozenset[str]
    ms: float


def nodes_of(name: str, metadata: str) -> frozenset[str]:
    """The ONNX nodes of a layer, from what the parser noted, else from its name.

    A change of layout belongs to the layer that it is made for: without that layer it would not be there.
    """
    found = set()
    for origin in _ORIGIN.findall(metadata):
        node, *callers = origin.split(" | ")
        caller = _CALLER.fullmatch(callers[-1].strip()) if callers else None
        found.add(caller[1] if caller else node.strip())
    if not found:
        reformat = _REFORMAT.fullmatch(name)
        found = set((reformat[1] if reformat else name).split(" + "))
    return frozenset(found)


def side_by_side(plugin: Sequence[Layer], body: Sequence[Layer], steps: Collection[str]) -> list[dict[str, Any]]:
    """Rows, the slowest first: the least sets of ONNX nodes that no layer of either engine crosses.

    Args:
        plugin: layers of the engine with the plugin.
        body: layers of the engine with the function body.
        steps: nodes that the plugin stands for.

    Returns:
        For each row `nodes`, `fused_step` (one is among them), and of each engine milliseconds and names of layers;
        None milliseconds where an engine has no such layer.
    """
    groups: list[tuple[set[str], dict[str, list[Layer]]]] = []
    for way, layers in (("plugin", plugin), ("body", body)):
        for layer in layers:
            nodes, members = set(layer.nodes), {"plugin": [], "body": []} | {way: [layer]}
            apart = []
            for other, inside in groups:
                if nodes & other:
                    nodes |= other
                    members = {key: inside[key] + members[key] for key in members}
                else:
                    apart.append((other, inside))
            groups = [*apart, (nodes, members)]
    rows = [
        {
            "nodes": sorted(nodes),
            "fused_step": not nodes.isdisjoint(steps),
            **{f"{way}_ms": round(sum(one.ms for one in inside), 5) if inside else None for way, inside in own.items()},
            **{f"{way}_layers": [one.name for one in inside] for way, inside in own.items()},
        }
        for nodes, own in groups
    ]
    return sorted(rows, key=lambda row: -max(row["plugin_ms"] or 0.0, row["body_ms"] or 0.0))


class ProfiledEngine(LoadedEngine):
    """See `LoadedEngine`; times its layers. Made, used and closed while the GPU is bound."""

    def __init__(self, file: EngineFile, library: Any, gpu: Gpu) -> None:
        super().__init__(file, library, gpu)
        self._calls: list[dict[str, float]] = []
        self._context.profiler = self._profiler = _profiler(library, self._add)

    def layers(self, inputs: Mapping[str, npt.NDArray[Any]], calls: int) -> list[Layer]:
        """Median times of `calls` calls, after a tenth as many to warm up, in the order of execution."""
        slot, nodes = Slot(self._gpu, self.tensors), self._nodes()
        self.shapes({name: value.shape for name, value in inputs.items()})
        try:
            for name, value in inputs.items():
                slot.fill(name, value)
            for call in range(-max(1, calls // 10), calls):
                if call == 0:
                    self._calls.clear()
                self._calls.append({})
                slot.upload({name: value.nbytes for name, value in inputs.items()})
                self.enqueue({name: slot.address(name) for name in self.tensors})
                self._gpu.wait()
        finally:
            slot.close()
        # The profiler may report later than the call returns, not later than the wait.
        names = list(dict.fromkeys(name for call in self._calls for name in call))
        times = {name: statistics.median(call.get(name, 0.0) for call in self._calls) for name in names}
        return [Layer(name, nodes.get(name) or nodes_of(name, ""), times[name]) for name in names]

    def _add(self, name: str, ms: float) -> None:
        self._calls[-1][name] = self._calls[-1].get(name, 0.0) + ms

    def _nodes(self) -> dict[str, frozenset[str]]:
        inspector = self._engine.create_engine_inspector()
        kind = self._library.LayerInformationFormat.JSON
        found = json.loads(inspector.get_engine_information(kind))["Layers"]
        # Names alone in an engine that was built without details.
        layers = [layer if isinstance(layer, dict) else {"Name": layer} for layer in found]
        nodes = {layer["Name"]: nodes_of(layer["Name"], layer.get("Metadata") or "") for layer in layers}
        for name in nodes:
            reformat = _REFORMAT.fullmatch(name)
            if reformat and reformat[1] in nodes:
                nodes[name] = nodes[reformat[1]]
        return nodes


def _profiler(library: Any, report: Callable[[str, float], None]) -> Any:
    class Profiler(library.IProfiler):  # type: ignore[misc]
        """Hands on what TensorRT measured, in milliseconds."""

        def __init__(self) -> None:
            library.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return Profiler()
