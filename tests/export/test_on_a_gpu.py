"""A shipped model the whole way on a GPU: built, held against its file, run by name. Skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.cli.main import main
from edgeseg.runtime.backends.engine_file import read_engine_file
from edgeseg.runtime.backends.gpu import open_gpu
from edgeseg.runtime.sources import DEMO_CLIP
from edgeseg.runtime.zoo import find_model

FRAMES = 20
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("library", list(MODULES))
def test_person_is_built_verified_and_run_by_name(
    library: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(MODULES[library], reason=f"{library} is not installed")
    with_gpu = open_gpu(None, "the test")
    capability = with_gpu.compute_capability
    with_gpu.close()
    if library == "tensorrt-rtx" and capability == "9.0":
        pytest.skip("TensorRT-RTX makes no engines for compute capability 9.0")
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    file = find_model("person").files["int8" if precision == "int8" else "fp32"]
    engine, figures = tmp_path / "person.engine", tmp_path / "figures.json"
    assert main(["build", str(file), "-o", str(engine), "--backend", library, "--precision", precision]) == 0
    assert read_engine_file(engine).manifest.precision == precision

    words = ["verify", str(file), str(engine), "--frames", str(DEMO_CLIP), "--count", "8", "--json", str(figures)]
    assert main([*words, "--min-agreement", "0.99"]) == 0, figures.read_text()

    words = ["run", "demo", "--model", "person", "--backend", library, "--precision", precision]
    words += ["--max-frames", str(FRAMES), "--stats", str(figures)]
    for builds in (True, False):  # the second time the engine is there
        capsys.readouterr()
        assert main(words) == 0
        assert ("building an engine once" in capsys.readouterr().err) is builds
        stats = json.loads(figures.read_text())
        assert (stats["frames_in"], stats["frames_out"], stats["failed"]) == (FRAMES, FRAMES, 0)
    kept = list((tmp_path / "cache" / "engines").glob("*.engine"))
    assert [read_engine_file(path).manifest.precision for path in kept] == [precision]
