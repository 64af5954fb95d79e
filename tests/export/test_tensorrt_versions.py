"""The builder code against full TensorRT of three versions, as far as each goes without a GPU: it says there is none.

`make tensorrt` fetches them. What needs a GPU (parsing, building, running) is not tried here; TensorRT-RTX parses and
builds in test_build_engine.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from export_helpers import Exported

from edgeseg.cli.main import main

# What the worker uses, and how it is spelt; printed by a process that has the library.
USED = """
import json
import tensorrt as trt
config = [name for name in ("add_optimization_profile", "create_timing_cache", "set_timing_cache", "get_timing_cache",
                            "set_memory_pool_limit", "progress_monitor", "profiling_verbosity")
          if not hasattr(trt.IBuilderConfig, name)]
running = {
    "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_mode get_tensor_dtype get_tensor_shape "
    "get_tensor_profile_shape create_execution_context create_engine_inspector device_memory_size_v2",
    "IExecutionContext": "set_input_shape get_tensor_shape set_tensor_address execute_async_v3 profiler",
    "Runtime": "deserialize_cuda_engine",
    "EngineInspector": "get_engine_information",
    "LayerInformationFormat": "JSON",
    "ProfilingVerbosity": "DETAILED",
    "TensorIOMode": "INPUT",
}
absent = [f"{owner}.{name}" for owner, names in running.items() for name in names.split()
          if not hasattr(getattr(trt, owner), name)]
print(json.dumps({
    "absent": absent,
    "version": trt.__version__,
    "missing": config + [name for name in ("OnnxParser", "IProgressMonitor", "ILogger", "IProfiler")
                         if not hasattr(trt, name)],
    "strongly_typed": int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
    "workspace": str(trt.MemoryPoolType.WORKSPACE),
    "plugin_layers": sorted(name for name in trt.LayerType.__members__ if "PLUGIN" in name),
    "fp16_flag": hasattr(trt.BuilderFlag, "FP16"),
    "registry": trt.get_plugin_registry() is not None,
}))
"""


def test_what_the_worker_uses_is_there(library: str) -> None:
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["version"].startswith(library) and body["missing"] == body["absent"] == [] and body["registry"]
    # Flags go by their enumerators: the number changed with 11.
    assert body["strongly_typed"] == (0 if library.startswith("11") else 1)
    assert "PLUGIN_V3" in body["plugin_layers"]
    assert body["fp16_flag"] == (not library.startswith("11"))


def test_without_a_gpu_it_is_one_line_and_exit_code_4(
    library: str, person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.engine"
    assert main(["build", str(person.path), "-o", str(out), "--backend", "tensorrt"]) == 4
    err = capsys.readouterr().err
    assert err.startswith("error: tensorrt finds no GPU: ") and err.count("\n") == 1
    assert "--backend tensorrt-rtx" in err
    assert list(tmp_path.iterdir()) == []
