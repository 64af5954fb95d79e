"""The house is in order: rooms where they belong, docstrings, small modules, no file named after a dependency."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.checkout

CODE = ("edgeseg", "export", "calib", "benchmarks", "examples")
LINES_AT_MOST = 300


def code_files() -> list[Path]:
    """Python files of the house, each once: the links inside edgeseg are not followed."""
    links = {CHECKOUT / "edgeseg" / name for name in ("export", "calib")}
    files = [path for folder in CODE for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    return [path for path in files if not links & set(path.parents)]


def test_links_show_the_rooms_at_the_top() -> None:
    for name in ("export", "calib"):
        link = CHECKOUT / "edgeseg" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


def test_setup_lists_every_package() -> None:
    text = (CHECKOUT / "setup.py").read_text(encoding="utf-8")
    moved = [CHECKOUT / name / "__init__.py" for name in ("export", "calib")]
    for init in sorted((CHECKOUT / "edgeseg").rglob("__init__.py")) + moved:
        name = ".".join(init.parent.relative_to(CHECKOUT).parts)
        name = name if name.startswith("edgeseg") else f"edgeseg.{name}"
        assert f'"{name}"' in text, f"{name} is missing in setup.py"


@pytest.mark.parametrize("path", code_files(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_modules_are_small_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_AT_MOST
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring and docstring.splitlines()[0].strip()


def test_nothing_is_named_after_a_dependency() -> None:
    from edgeseg.packages import EXTRA_OF

    for path in code_files():
        assert path.stem not in EXTRA_OF, path


def test_constraints_pin_what_setup_bounds() -> None:
    pins = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^torch==2\.13\.0$", pins, re.M)
    assert re.search(r"^torchvision==0\.28\.0$", pins, re.M)
    named = {name.lower() for name in re.findall(r'"([A-Za-z][A-Za-z0-9-]*)>=', (CHECKOUT / "setup.py").read_text())}
    named -= {"python", "tensorrt", "pycuda"}  # pinned by the device, not by us
    pinned = set(re.findall(r"^([a-z0-9-]+)==", pins, re.M))
    assert named <= pinned
