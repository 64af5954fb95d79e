"""Installing takes the plugin along where it can be built, and never fails for want of it unless EDGESEG_CUDA=1.

setup.py runs in a copy of the house without its contents, where a stand-in for the compiler's script leaves the
libraries: what that script does itself, `make ext` shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARIES = ("libedgeseg_cpu.so", "libedgeseg_plugin.so", "libedgeseg_plugin_loader.so")
COMPILES = f"mkdir -p build\nfor name in {' '.join(LIBRARIES)}; do echo compiled >build/$name; done\n"

pytestmark = pytest.mark.checkout


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """setup.py, empty packages, and a machine with sh and CMake, but without nvcc."""
    house = tmp_path / "house"
    for room in ("edgeseg", "export", "calib"):
        for path in sorted((CHECKOUT / room).rglob("__init__.py")):
            copy = house / path.relative_to(CHECKOUT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text('__version__ = "0"\n')
    (house / "cpp_ext").mkdir()
    (house / "tools").mkdir()
    shutil.copy(CHECKOUT / "setup.py", house)
    (house / "cpp_ext" / "find_tool.sh").write_text('[ ! -e "tools/$1" ] || echo "tools/$1"\n')
    (house / "cpp_ext" / "build.sh").write_text(COMPILES)
    (house / "tools" / "cmake").touch()
    return house


def build(house: Path, cuda: str = "") -> tuple[int, str, list[str]]:
    """Exit status, standard error, and the libraries that a package would hold."""
    shutil.rmtree(house / "out", ignore_errors=True)
    environment = os.environ | {"EDGESEG_CUDA": cuda}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # of which setuptools would warn
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "build_py", "--build-lib", "out"]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, done.stderr, sorted(path.name for path in (house / "out").glob("edgeseg/lib/*"))


def test_without_nvcc(house: Path) -> None:
    assert build(house) == (0, "edgeseg: without the TensorRT plugin: no nvcc found\n", [])
    status, error, libraries = build(house, "1")
    assert status != 0 and not libraries
    assert "error: no TensorRT plugin: no nvcc found. Install what is missing, or unset EDGESEG_CUDA." in error


def test_with_nvcc(house: Path) -> None:
    (house / "tools" / "nvcc").touch()
    for cuda in ("", "1"):
        assert build(house, cuda) == (0, "", list(LIBRARIES))
    assert build(house, "0") == (0, "", [])
    (house / "cpp_ext" / "build.sh").write_text("echo a mistake of the compiler\nexit 1\n")
    status, error, libraries = build(house)
    assert (status, libraries) == (0, []) and "a mistake of the compiler" in error and "does not compile" in error
    assert build(house, "1")[0] != 0
