"""Which way imports run, read from the syntax trees: DESIGN's table, and the runtime never meets torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeseg

PACKAGE = Path(edgeseg.__file__).parent
BASE = {"", "types", "errors", "config", "manifest", "metrics", "drawing", "instance_masks", "packages", "machine"}

# Room -> rooms of edgeseg that it may import, beside itself and the base. "" is `edgeseg/__init__.py`.
MAY_IMPORT: dict[str, set[str]] = {
    "": {"runtime"},
    "types": set(),
    "errors": set(),
    "config": set(),
    "manifest": set(),
    "metrics": set(),
    "drawing": set(),
    "instance_masks": set(),
    "packages": set(),
    "machine": set(),
    "models": set(),
    "data": {"runtime"},
    "train": {"models", "data", "calib", "export"},
    "runtime": set(),
    "calib": {"data", "runtime"},
    "export": {"models", "calib", "data", "runtime"},
    "bench": {"runtime", "data"},
    "cli": {"models", "data", "train", "runtime", "calib", "export", "bench"},
    "__main__": {"cli"},
}
HEAVY = {
    "aiohttp",
    "av",
    "cv2",
    "onnx",
    "onnxruntime",
    "openvino",
    "torch",
    "torchvision",
    "tensorrt",
    "tensorrt_rtx",
    "yaml",
}
# Rooms that run without torch: never, not even inside a function.
NO_TORCH = {
    "types",
    "errors",
    "config",
    "manifest",
    "metrics",
    "drawing",
    "instance_masks",
    "packages",
    "machine",
    "runtime",
    "bench",
    "data",
    "",
}
TORCH = {"torch", "torchvision", "tensorboard"}


def modules() -> list[Path]:
    """Every module of the package; links are followed, so export and calib are among them."""
    found = []
    for folder in [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())]:
        pattern = "*.py" if folder == PACKAGE else "**/*.py"
        found += sorted(folder.glob(pattern))
    return found


def name_of(path: Path) -> str:
    """`edgeseg.runtime.pipeline` for its file."""
    parts = ["edgeseg", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`runtime` for `edgeseg.runtime.pipeline`, "" for `edgeseg` itself."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """(full module name, whether it runs when the file is imported, line) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {id(inner) for node in ast.walk(tree) if _postpones(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in lazy, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                # `from edgeseg import models` names a room, too.
                whole = node.module == "edgeseg"
                yield f"{node.module}.{alias.name}" if whole else str(node.module), id(node) not in lazy, node.lineno


def _postpones(node: ast.AST) -> bool:
    """True for what holds imports that do not run when the module does: functions and `if TYPE_CHECKING`."""
    if isinstance(node, ast.If):
        test = node.test
        return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_every_room_is_known() -> None:
    rooms = {room_of(name_of(path)) for path in modules()}
    assert {"runtime", "cli", "export", "calib"} <= rooms
    assert rooms <= set(MAY_IMPORT), "a new room: say here what it may import"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    module = name_of(path)
    room = room_of(module)
    for target, at_import, line in imports(path):
        where = f"{path}:{line}: {module} imports {target}"
        top = target.split(".")[0]
        if top == "edgeseg":
            other = room_of(target)
            exported = room_of(f"edgeseg.{other}") if other in MAY_IMPORT else ""  # a name of edgeseg/__init__
            assert exported in BASE | MAY_IMPORT[room] | {room}, where
            if room in BASE - {""} and exported == "":
                assert target == "edgeseg.__version__", where
        assert not (top in TORCH and room in NO_TORCH), f"{where}, but runs without torch"
        if room in BASE and at_import:
            assert top not in HEAVY, f"{where} at import; the base needs numpy only"


LAZY = [path for path in modules() if room_of(name_of(path)) in ("runtime", "cli", "bench")]


@pytest.mark.parametrize("path", LAZY, ids=name_of)
def test_runtime_and_command_line_import_heavy_packages_inside_functions(path: Path) -> None:
    for target, at_import, line in imports(path):
        assert not (at_import and target.split(".")[0] in HEAVY), f"{path}:{line}: {target} at import"
