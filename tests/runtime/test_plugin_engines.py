"""The comparison of engines with and without the plugin, on the stand-ins of fake_gpu.py: layers and times are made up.

What needs a GPU, the engines themselves, is in tests/export/test_plugin_engine_pairs.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeTensorRt, HostGpu, write_engine

from edgeseg.runtime.backends.gpu import gpu_count

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.checkout

# Name, what the parser noted, milliseconds; as TensorRT 10 writes them.
PLUGIN = [
    ["conv0", "[ONNX Layer: conv0]", 1.0],
    ["Reformatting CopyNode for Input Tensor 0 to fuse", "", 0.125],
    ["fuse", "[ONNX Layer: fuse]", 0.25],
    ["conv1 + clip1", "[ONNX Layer: conv1]\x1e[ONNX Layer: clip1]", 0.5],
]
BODY = [
    ["conv0", "[ONNX Layer: conv0]", 1.0],
    ["node_of_up_12", "[ONNX Layer: node_of_up | fuse (UpsampleCropConcat)]", 0.5],
    ["node_of_fused_17", "[ONNX Layer: node_of_fused | fuse (UpsampleCropConcat)]", 0.75],
    ["__myl_Conv_myl0_1", "[ONNX Layer: conv1]", 0.5],
    ["__myl_Clip_myl0_2", "[ONNX Layer: clip1]", 0.25],
    ["Reformatting CopyNode for Output Tensor 0 to __myl_Clip_myl0_2", "", 0.0625],
    ["only here", "", 2.0],
]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("onnx", reason="onnx, which prepares the files, is not installed")
    pytest.importorskip("torch", reason="torch, which edgeseg.export needs, is not installed")
    monkeypatch.syspath_prepend(BENCHMARKS)
    import plugin_engines

    return plugin_engines


def pair(folder: Path, onnx: Path, other: Path | None = None) -> dict[str, Path]:
    return {
        "plugin": write_engine(folder / "plugin.engine", onnx, layers=PLUGIN, plugin_layers=1),
        "body": write_engine(folder / "body.engine", other or onnx, layers=BODY, plugin_layers=0),
    }


def frames() -> list[Any]:
    return [np.random.default_rng(seed).integers(0, 256, (1, 32, 32, 3), np.uint8) for seed in range(3)]


def test_layers_of_both_stand_side_by_side(benchmark: Any, tiny_model: Path, tmp_path: Path) -> None:
    gpus: list[HostGpu] = []

    def new_gpu() -> HostGpu:
        gpus.append(HostGpu())
        return gpus[-1]

    library = FakeTensorRt()
    row = benchmark.measure(pair(tmp_path, tiny_model), ["fuse"], frames(), 4, library, new_gpu)
    found = {tuple(one["nodes"]): (one["plugin_ms"], one["body_ms"], one["fused_step"]) for one in row["layers"]}
    assert found == {
        ("only here",): (None, 2.0, False),
        ("fuse",): (0.375, 1.25, True),
        ("conv0",): (1.0, 1.0, False),
        ("clip1", "conv1"): (0.5, 0.8125, False),
    }
    assert [one["nodes"] for one in row["layers"]][:2] == [["only here"], ["fuse"]]  # the slowest first
    fuse = next(one for one in row["layers"] if one["fused_step"])
    assert fuse["plugin_layers"] == [PLUGIN[1][0], "fuse"] and len(fuse["body_layers"]) == 2
    assert row["fused_steps_ms"] == {"plugin": 0.375, "body": 1.25}
    assert row["layers_ms"] == {"plugin": 1.875, "body": 5.0625}
    assert row["same_labels"] == 1.0 and row["frames"] == 3 and row["plugin_layers"] == 1
    assert row["device"] == "0 (Fake)" and row["version"] == "10.15.1" and row["call_p50_ms"]["body"] > 0
    json.dumps(row, allow_nan=False)
    text = benchmark.sentences(row)
    assert text.startswith("fp32: a call ") and "0.375 ms and 1.250 ms" in text and "100.000 %" in text
    assert all(gpu.alive == {} and gpu.closed for gpu in gpus)


def test_labels_that_differ_are_seen(benchmark: Any, tiny_model: Path, make_tiny_model: Any, tmp_path: Path) -> None:
    import onnx

    other = onnx.load(tiny_model)
    threshold = next(item for item in other.graph.initializer if item.name == "half")
    threshold.CopyFrom(onnx.numpy_helper.from_array(np.float32(129), "half"))
    onnx.save(other, tmp_path / "other.onnx")
    engines = pair(tmp_path, tiny_model, tmp_path / "other.onnx")
    row = benchmark.measure(engines, ["fuse"], frames(), 1, FakeTensorRt(), HostGpu)
    wanted = np.mean([frame.mean(axis=3).round() != 128 for frame in frames()])
    assert row["same_labels"] == pytest.approx(wanted) and 0.9 < row["same_labels"] < benchmark.SAME_LABELS


def test_an_engine_without_details_is_matched_by_its_layers_names(
    benchmark: Any, tiny_model: Path, tmp_path: Path
) -> None:
    from engine_layers import nodes_of

    assert nodes_of("conv1 + clip1", "") == {"conv1", "clip1"}
    assert nodes_of("Reformatting CopyNode for Output Tensor 0 to fuse", "") == {"fuse"}
    assert nodes_of("x", "[ONNX Layer: a.b]\x1e[ONNX Layer: node_of_up | s.0 (UpsampleCropConcat)]") == {"a.b", "s.0"}


@pytest.mark.skipif(gpu_count() > 0, reason="there is an NVIDIA GPU")
def test_without_a_gpu_it_is_one_line_and_exit_code_4(benchmark: Any) -> None:
    command = [sys.executable, str(BENCHMARKS / "plugin_engines.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
    assert done.returncode == 4 and done.stdout == ""
    assert done.stderr.startswith("error: there is no NVIDIA GPU to time engines on: ")
    assert done.stderr.count("\n") == 1
