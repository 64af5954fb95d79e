"""What all tests share: the data of `shared`, a tiny model that runs in a millisecond, and what to leave out."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from needed import skip_or_fail

from edgeseg.manifest import METADATA_KEY, Manifest
from edgeseg.runtime.backends.gpu import gpu_count
from edgeseg.types import ClassInfo

TESTS = Path(__file__).resolve().parent
# These train, export or calibrate: they are left out where torch is not installed (`make test-pythons`).
NEED_TORCH = ("models", "train", "export", "calib", "cli/test_training_verbs.py", "cli/test_own_data.py")

collect_ignore = [] if find_spec("torch") else list(NEED_TORCH)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a GPU is skipped with that reason where there is none."""
    if gpu_count() == 0:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no NVIDIA GPU"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of clips and data sets: $EDGESEG_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("EDGESEG_SHARED") or TESTS.parents[1] / "shared")
    if not (folder / "clips").is_dir():
        message = f"no clips and data sets in {folder}; set EDGESEG_SHARED"
        skip_or_fail(message)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or write the user's cache of measurements."""
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path_factory.getbasetemp() / "edgeseg-cache"))


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[..., Path]:
    """A function `(path, **manifest_fields) -> path` that writes a model with edgeseg's contract.

    It calls bright pixels "person": `probability` is the rounded mean of the three channels, `label_map` is 1 where
    that is at least 128. Input uint8 [N, height, width, 3], 32 x 32 unless told otherwise; about 1 KB.
    """
    return _write_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny.onnx`, written once a session; see `make_tiny_model`. Don't change the file."""
    return _write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


def _write_tiny_model(path: Path, **fields: Any) -> Path:
    from onnx import TensorProto, checker, helper, save

    manifest = Manifest(
        **{
            "name": "tiny",
            "classes": (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "person", (80, 200, 60))),
            "height": 32,
            "width": 32,
            "outputs": ("label_map", "probability"),
            **fields,
        }
    )
    size = ["N", manifest.height, manifest.width]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "channel_axis"], ["mean"], keepdims=0),
        helper.make_node("Round", ["mean"], ["rounded"]),
        helper.make_node("GreaterOrEqual", ["rounded", "half"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["label_map"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["rounded"], ["probability"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [*size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, size) for name in ("label_map", "probability")],
        [
            helper.make_tensor("channel_axis", TensorProto.INT64, [1], [3]),
            helper.make_tensor("half", TensorProto.FLOAT, [], [128.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    checker.check_model(model)
    save(model, path)
    return path
