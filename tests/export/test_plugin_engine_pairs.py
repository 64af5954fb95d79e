"""Engines with the plugin and with the function body, in pairs: what they are built of, and on a GPU the engines.

Reports from made-up layers are tested in tests/runtime/test_plugin_engines.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from export_helpers import Exported

from edgeseg.export.build_engine import Order
from edgeseg.export.engine_worker import configure
from edgeseg.export.fused_step import is_step
from edgeseg.runtime.backends.plugin_library import find_library

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.checkout

# A parser's layers and what it noted of them, as JSON.
LAYERS = """
import json, os, sys
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(sys.argv[1])
layers = [network.get_layer(place) for place in range(network.num_layers)]
print(json.dumps([[layer.name, layer.metadata] for layer in layers if "[ONNX" in layer.metadata]))
"""


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import plugin_engines

    return plugin_engines


def test_both_engines_come_from_one_file_and_keep_their_layers_nodes(benchmark: Any, tmp_path: Path) -> None:
    asked = []
    engines = benchmark.build_both(
        Path("a.onnx"), "int8", Path("lib.so"), tmp_path, lambda *order, **more: asked.append((*order, more))
    )
    assert asked == [
        (Path("a.onnx"), engines["plugin"], "tensorrt", "int8", Path("lib.so"), {"detailed": True}),
        (Path("a.onnx"), engines["body"], "tensorrt", "int8", None, {"detailed": True}),
    ]
    assert engines["plugin"] != engines["body"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_the_plugin_stands_for(benchmark: Any, person: Exported, int8: Path, precision: str) -> None:
    file = int8 if precision == "int8" else person.path
    steps = {node.name for node in onnx.load(file).graph.node if is_step(node)}
    found = benchmark.steps_of(file, precision)
    kinds = {node.op_type for node in onnx.load(file).graph.node if node.name in found - steps}
    assert steps and steps <= found and "" not in found
    assert kinds == ({"QuantizeLinear", "DequantizeLinear"} if precision == "int8" else set())


def test_frames_are_as_the_model_takes_them(benchmark: Any, person: Exported) -> None:
    frames = benchmark.frames_of(person.path)
    assert len(frames) == benchmark.FRAMES and not np.array_equal(frames[0], frames[-1])
    assert {(frame.shape, frame.dtype) for frame in frames} == {((1, 72, 100, 3), np.dtype(np.uint8))}


def test_a_parser_names_the_step_on_every_layer_of_its_body(person: Exported, tmp_path: Path, benchmark: Any) -> None:
    """By TensorRT-RTX, whose parser is TensorRT's and needs no GPU; in a process of its own."""
    from engine_layers import nodes_of

    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    done = subprocess.run(
        [sys.executable, "-c", LAYERS, str(person.path)], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)
    inside = [name for name, origin in layers if name.startswith("node_of_")]
    steps = {node.name for node in onnx.load(person.path).graph.node if is_step(node)}
    found = set().union(*(nodes_of(name, origin) for name, origin in layers if name in inside))
    assert len(inside) > 3 * len(steps) and found == steps


def test_the_builder_is_told_to_keep_them() -> None:
    """A stand-in: what only a builder with a GPU has."""

    class Anything:
        num_inputs = 0
        MemoryPoolType = ProfilingVerbosity = type("Names", (), {"DETAILED": "detailed", "WORKSPACE": 0})

        def create_builder_config(self) -> Anything:
            return Anything()

        def create_optimization_profile(self) -> None: ...

        def add_optimization_profile(self, profile: None) -> None: ...

    for wanted in (True, False):
        order = asdict(Order("tensorrt", "in", "out", detailed=wanted))
        config = configure(Anything(), Anything(), Anything(), order)
        assert getattr(config, "profiling_verbosity", None) == ("detailed" if wanted else None)


@pytest.mark.gpu
def test_on_a_gpu_both_say_the_same(benchmark: Any, person: Exported, int8: Path) -> None:
    pytest.importorskip("tensorrt", reason="full TensorRT is not installed")
    library = find_library()
    if library is None:
        pytest.skip("no plugin library: run make ext")
    body = benchmark.compare({"fp16": person.path, "int8": int8}, library, calls=20)
    assert body["met"], [row["same_labels"] for row in body["rows"]]
    steps = sum(is_step(node) for node in onnx.load(person.path).graph.node)
    assert [(row["precision"], row["plugin_layers"]) for row in body["rows"]] == [("fp16", steps), ("int8", steps)]
    for row in body["rows"]:
        assert all(
            spent_ms > 0 for key in ("fused_steps_ms", "layers_ms", "call_p50_ms") for spent_ms in row[key].values()
        )
