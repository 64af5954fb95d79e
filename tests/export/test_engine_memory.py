"""Memory of builds: the manifest has what the builder said, and memory that runs out is one line and exit code 4."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from export_helpers import Exported

from edgeseg.cli.main import main
from edgeseg.export.build_engine import build_engine
from edgeseg.manifest import Manifest
from edgeseg.runtime.backends.engine_log import device_bytes

FULL = """
import os, sys
from types import SimpleNamespace as Some

class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)

class IProgressMonitor:
    pass

class OnnxParser:
    def __init__(self, network, logger): pass
    def parse(self, content): return True

class Builder:
    def __init__(self, logger): self.logger = logger
    def create_network(self, flags): return Some(num_layers=0, num_inputs=0)
    def create_builder_config(self): return Some(add_optimization_profile=id)
    def create_optimization_profile(self): return None
    def build_serialized_network(self, network, config):
        say = lambda text: self.logger.log(ILogger.ERROR, text)
        {happens}

NetworkDefinitionCreationFlag = Some(STRONGLY_TYPED=1)
"""


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (
            "say('Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)'); say('no engine')",
            r"memory ran out while the engine was built: .*OutOfMemory \(Requested size was 8589934592 bytes\.\)\.",
        ),
        (
            "print('what():  std::bad_alloc', file=sys.stderr, flush=True); os.abort()",
            r"memory ran out while the engine was built: .*bad_alloc",
        ),
        ("os.kill(os.getpid(), 9)", r"the build was killed: tensorrt \(signal 9, "),
    ],
    ids=["of the device", "of the host", "killed for it"],
)
def test_memory_that_runs_out_is_said(
    happens: str,
    told: str,
    person: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stand-in for TensorRT, whose memory cannot run out here: there is no GPU."""
    (tmp_path / "tensorrt.py").write_text(FULL.format(happens=happens))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "out").mkdir()
    assert main(["build", str(person.path), "-o", str(tmp_path / "out" / "x.engine")]) == 4
    err = capsys.readouterr().err
    assert re.match(f"error: {told}", err) and err.count("\n") == 1 and "Lower --workspace-mb" in err, err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_the_manifest_says_what_the_builder_said_of_memory(person: Exported, tmp_path: Path) -> None:
    one, four = (
        build_engine(person.path, tmp_path / f"{count}.engine", "tensorrt-rtx", batch=(1, 1, count)).origin["engine"]
        for count in (1, 4)
    )
    said = one["memory"]
    weights = sum(parameter.numel() for parameter in person.model.parameters()) * 4
    assert weights / 2 < said["weights_bytes"] < weights * 4
    # The profile's largest batch decides what activations take.
    assert 72 * 100 * 3 < said["activation_bytes"] < four["memory"]["activation_bytes"]
    assert said["persistent_bytes"] >= 0 and said["build_peak_device_bytes"] >= 0
    assert said["build_peak_host_bytes"] > one["bytes"]
    assert device_bytes(one) == sum(said[f"{name}_bytes"] for name in ("activation", "persistent", "weights"))
    assert Manifest.from_json((tmp_path / "1.engine.json").read_text()).origin["engine"]["memory"] == said


def test_what_was_not_said_of_memory_is_not_made_up() -> None:
    assert device_bytes({}) is None and device_bytes({"memory": {"weights_bytes": 7, "activation_bytes": 7}}) is None
