"""Model repositories: read by Triton's own schema, held against the file by the rules of its backend, and run.

The schema is model_config.proto as tritonclient ships it. No Triton runs here.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_helpers import ARGUMENTS, Exported, lively, one_thread
from google.protobuf import text_format
from torch import Tensor, nn
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelInstanceGroup

from edgeseg.cli.main import main
from edgeseg.errors import InputError, ModelError, OutputError, UsageError
from edgeseg.export.from_checkpoint import class_map
from edgeseg.export.prototext import Symbol, render
from edgeseg.export.tensors import engine_tensors, file_tensors
from edgeseg.export.to_onnx import export_onnx
from edgeseg.export.triton_repository import MAX_BATCH, Served, describe, write_repository
from edgeseg.manifest import METADATA_KEY, PREVIOUS, Manifest
from edgeseg.models.base import SemanticNetwork
from edgeseg.runtime.backends.model_file import read_model_file
from edgeseg.runtime.zoo import find_model

KINDS = {
    "TYPE_UINT8": ("tensor(uint8)", np.uint8),
    "TYPE_INT32": ("tensor(int32)", np.int32),
    "TYPE_FP32": ("tensor(float)", np.float32),
}


class Thin(SemanticNetwork):
    """One convolution: what a file takes and gives is the same whatever lies between, and this is traced in no time."""

    def __init__(self, channels: int, in_channels: int = 3) -> None:
        super().__init__(stride=1)
        self.in_channels = in_channels
        self.head = nn.Conv2d(in_channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x)
        return logits


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of most kinds: shipped ones, many classes with logits, a memory; all with a free batch."""
    folder = tmp_path_factory.mktemp("models")
    with one_thread():
        road, video = lively(Thin(channels=3)), lively(Thin(channels=1, in_channels=4))
        manifest = Manifest("road", class_map(["void", "road", "sky"]), 64, 96, outputs=("label_map", "logits"))
        export_onnx(road, manifest, folder / "road.onnx")
        export_onnx(video, Manifest("video", class_map(["background", "person"]), 64, 96), folder / "video.onnx")
    shipped = {f"person-{kind}": path for kind, path in find_model("person").files.items()}
    return shipped | {name: folder / f"{name}.onnx" for name in ("road", "video")}


@pytest.fixture
def model(kind: str, models: dict[str, Path], request: pytest.FixtureRequest) -> Path:
    """One of them, or of instances, which takes long to trace: so only tests of it wait for that."""
    return request.getfixturevalue("instances").path if kind == "toy" else models[kind]


ALL = ("person-fp32", "person-int8", "road", "video", "toy")


def put(model: Path, repository: Path, max_batch: int | None = None, name: str | None = None) -> Served:
    """Describe and write."""
    served = describe(model, repository, max_batch, name)
    write_repository(served, model)
    return served


def read(folder: Path) -> Any:
    """config.pbtxt by the schema; an unknown field or enumerator raises."""
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), ModelConfig())


def complaints(config: Any, session: Any) -> list[str]:
    """What Triton's onnxruntime_backend would refuse: ValidateInputs, ValidateOutputs and CompareDimsSupported."""
    found = []
    for kind, listed, own in (
        ("input", config.input, session.get_inputs()),
        ("output", config.output, session.get_outputs()),
    ):
        tensors = {item.name: item for item in own}
        if kind == "input" and len(listed) != len(tensors):
            found.append("number of inputs")
        for item in listed:
            model = [size if isinstance(size, int) else -1 for size in tensors[item.name].shape]
            asked = [-1] * (config.max_batch_size > 0) + list(item.dims)
            same = len(model) == len(asked) and all(
                m == a or (m == -1 and kind == "input") for m, a in zip(model, asked, strict=True)
            )
            if not same or (config.max_batch_size > 0 and model[0] != -1):
                found.append(f"{item.name}: {model} is not {asked}")
            if KINDS[DataType.Name(item.data_type)][0] != tensors[item.name].type:
                found.append(f"{item.name}: type")
    return found


def run(config: Any, session: Any, batch: int) -> dict[str, Any]:
    """The file's answer to inputs made of nothing but the configuration; shapes and types are checked."""
    rng = np.random.default_rng(3)
    lead = (batch,) if config.max_batch_size else ()
    feeds = {
        item.name: rng.integers(0, 256, (*lead, *item.dims)).astype(KINDS[DataType.Name(item.data_type)][1])
        for item in config.input
    }
    outputs = session.run([item.name for item in config.output], feeds)
    for item, value in zip(config.output, outputs, strict=True):
        assert value.shape == (*lead, *item.dims), item.name
        assert value.dtype == KINDS[DataType.Name(item.data_type)][1], item.name
    return {item.name: value for item, value in zip(config.output, outputs, strict=True)}


def open_session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("kind", ALL)
def test_the_configuration_is_that_of_the_file(kind: str, model: Path, tmp_path: Path) -> None:
    served = put(model, tmp_path / "deep" / "repository")
    config = read(served.folder)
    assert config.name == served.folder.name == read_model_file(model).manifest.name
    assert (served.folder / "1" / "model.onnx").read_bytes() == model.read_bytes()
    assert config.platform == "onnxruntime_onnx" and config.max_batch_size == MAX_BATCH
    assert config.HasField("dynamic_batching") and config.version_policy.latest.num_versions == 1
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, ModelInstanceGroup.KIND_AUTO)]
    assert config.input[0].name == "image" and config.input[0].format == ModelInput.FORMAT_NHWC
    session = open_session(served.folder / "1" / "model.onnx")
    assert [item.name for item in config.output] == [item.name for item in session.get_outputs()]
    assert complaints(config, session) == []
    answer = run(config, session, 2)
    assert {"road": "logits", "video": "probability", "toy": "masks"}.get(kind, "label_map") in answer
    assert [item.name for item in config.input] == (["image", PREVIOUS] if kind == "video" else ["image"])


@pytest.mark.parametrize("kind", ALL)
def test_classes_and_manifest_travel_along(kind: str, model: Path, tmp_path: Path) -> None:
    manifest = read_model_file(model).manifest
    served = put(model, tmp_path)
    assert Manifest.from_json((served.folder / "manifest.json").read_text()) == manifest
    assert tuple((served.folder / "labels.txt").read_text().splitlines()) == manifest.class_names
    config = read(served.folder)
    told = Manifest.from_json(config.parameters[METADATA_KEY].string_value)
    assert told == dataclasses.replace(manifest, architecture={}, origin={})
    # Triton would name pixels by it: see the module.
    assert not any(item.label_filename for item in config.output)


@pytest.mark.parametrize("kind", ALL)
def test_an_engine_is_told_as_its_file_is(kind: str, model: Path) -> None:
    assert engine_tensors(read_model_file(model).manifest) == file_tensors(model)


def test_the_schema_and_the_rules_refuse_what_is_wrong(models: dict[str, Path], tmp_path: Path) -> None:
    served = put(models["person-fp32"], tmp_path)
    text = (served.folder / "config.pbtxt").read_text()
    for right, wrong in (("max_batch_size", "max_batch"), ("TYPE_UINT8", "TYPE_BYTE"), ("KIND_AUTO", "KIND_DLA")):
        with pytest.raises(text_format.ParseError, match=wrong):
            text_format.Parse(text.replace(right, wrong), ModelConfig())
    session = open_session(models["person-fp32"])
    for right, wrong, told in (
        ("[ 256, 256, 3 ]", "[ 3, 256, 256 ]", "image"),
        ("[ 256, 256 ]", "[ -1, 256 ]", "label_map"),
        ("TYPE_UINT8", "TYPE_FP32", "type"),
        ("max_batch_size: 4", "max_batch_size: 0", "image"),
    ):
        config = text_format.Parse(text.replace(right, wrong), ModelConfig())
        assert any(told in line for line in complaints(config, session)), wrong


def test_a_fixed_batch_stands_in_the_dimensions(make_tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "one.onnx")
    model = onnx.load(path)
    for item in (*model.graph.input, *model.graph.output):
        item.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    served = put(path, tmp_path / "repository")
    config, session = read(served.folder), open_session(path)
    assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [1, 32, 32, 3]
    # Triton takes a format with three dimensions only (core, model_config_utils.cc).
    assert config.input[0].format == ModelInput.FORMAT_NONE
    assert complaints(config, session) == [] and run(config, session, 1)["label_map"].shape == (1, 32, 32)
    config.max_batch_size = 1
    assert complaints(config, session)
    with pytest.raises(UsageError, match="batch is fixed"):
        describe(path, tmp_path, max_batch=2)


def test_the_largest_batch_is_the_users(models: dict[str, Path], tmp_path: Path) -> None:
    config = read(put(models["road"], tmp_path, 16).folder)
    assert config.max_batch_size == 16 and config.HasField("dynamic_batching")
    config = read(put(models["road"], tmp_path, 1).folder)
    assert config.max_batch_size == 1 and not config.HasField("dynamic_batching")


def engine(folder: Path, manifest: Manifest, **changes: Any) -> Path:
    """Bytes that stand for an engine, and the manifest that `edgeseg build` writes beside one."""
    path = folder / "model.engine"
    path.write_bytes(b"a plan")
    about = {
        "library": "tensorrt",
        "version": "10.3.0",
        "compute_capability": "8.7",
        "plugin": "",
        "onnx": "/models/person.onnx",
        "onnx_sha256": "",
        "bytes": 6,
        "batch": [1, 1, 8],
        "engine_sha256": hashlib.sha256(b"a plan").hexdigest(),
        **changes,
    }
    told = dataclasses.replace(manifest, origin={"engine": about})
    (folder / "model.engine.json").write_text(told.to_json())
    return path


def test_an_engine_is_a_plan_for_a_gpu(person: Exported, tmp_path: Path) -> None:
    manifest = read_model_file(person.path).manifest
    path = engine(tmp_path, manifest, plugin="/lib/libedgeseg_plugin.so")
    served = put(path, tmp_path / "repository")
    config = read(served.folder)
    assert (served.folder / "1" / "model.plan").read_bytes() == b"a plan"
    assert config.platform == "tensorrt_plan" and config.max_batch_size == 8
    assert config.instance_group[0].kind == ModelInstanceGroup.KIND_GPU
    assert complaints(config, open_session(person.path)) == []
    assert "10.3.0" in served.notes[0] and "plugins=/lib/libedgeseg_plugin_loader.so" in served.notes[1]
    assert read(put(path, tmp_path / "repository", 2).folder).max_batch_size == 2
    with pytest.raises(UsageError, match="9 of at most 8"):
        describe(path, tmp_path, 9)


def test_engines_that_triton_does_not_run(person: Exported, tmp_path: Path) -> None:
    manifest = read_model_file(person.path).manifest
    with pytest.raises(ModelError, match="tensorrt-rtx"):
        describe(engine(tmp_path, manifest, library="tensorrt-rtx"), tmp_path)
    rebuilt = r"Run edgeseg build /models/person\.onnx .*tensorrt.*fp32 --max-batch 8\."
    with pytest.raises(ModelError, match=f"not the one .* {rebuilt}"):
        describe(engine(tmp_path, manifest, engine_sha256="0" * 64), tmp_path)
    (tmp_path / "model.engine.json").unlink()
    with pytest.raises(ModelError, match=r"no manifest beside it: .*model\.engine\.json"):
        describe(tmp_path / "model.engine", tmp_path)
    with pytest.raises(InputError, match=r"gone\.engine"):
        describe(tmp_path / "gone.engine", tmp_path)


def test_models_that_are_none(models: dict[str, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    whole = models["road"].read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    foreign = tmp_path / "foreign.onnx"
    model = onnx.load(models["road"])
    del model.metadata_props[:]
    onnx.save(model, foreign)
    broken = tmp_path / "broken.onnx"
    model = onnx.load(models["road"])
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, broken)
    for path, told in ((cut, "corrupt"), (foreign, "no manifest"), (broken, "corrupt.*NoSuchOperator")):
        with pytest.raises(ModelError, match=told):
            describe(path, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
    for name in ("a/b", "..", "a b", "-x"):
        with pytest.raises(UsageError, match="--name"):
            describe(models["road"], tmp_path, name=name)


def test_a_model_is_replaced_whole(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = put(models["person-fp32"], tmp_path, name="one")
    before = {path: path.read_bytes() for path in served.folder.rglob("*") if path.is_file()}

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError, match="No space left"):
        put(models["road"], tmp_path, name="one")
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in served.folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    put(models["road"], tmp_path, name="one")
    assert read(tmp_path / "one").output[1].name == "logits"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    # Triton may run as somebody else.
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "one").rglob("*"))
    assert (tmp_path / "one").stat().st_mode & 0o055 == 0o055


def test_what_others_put_there_stays(models: dict[str, Path], tmp_path: Path) -> None:
    theirs = tmp_path / "road" / "1" / "model.onnx"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(OutputError, match="something else"):
        put(models["road"], tmp_path)
    served = put(models["road"], tmp_path, name="own")
    (served.folder / "2").mkdir()
    with pytest.raises(OutputError, match=r"own/2"):
        put(models["road"], tmp_path, name="own")
    (tmp_path / "file").write_text("")
    for place, name in ((tmp_path, "file"), (tmp_path / "file", "x")):
        with pytest.raises(OutputError, match="file"):
            put(models["road"], place, name=name)
    assert theirs.read_text() == "theirs"


def test_a_checkpoint_goes_straight_into_a_repository(
    person: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"format": 1, "name": "cats", "model": {"name": "unet_lite", "args": ARGUMENTS}, "size": [64, 64]}
    body |= {"classes": ["background", "cat"], "fit": "letterbox", "ema": person.model.state_dict()}
    torch.save(body, tmp_path / "last.pt")
    words = ["export", tmp_path / "last.pt", "--triton", tmp_path / "repository", "--max-batch", 2, "--json", "-"]
    assert main([*map(str, words)]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["triton"]["max_batch_size"] == 2 and figures["against_torch"]["max_levels"] <= 1
    assert "file" not in figures and "up to 2 frames" in err
    config = read(tmp_path / "repository" / "cats")
    assert complaints(config, open_session(tmp_path / "repository" / "cats" / "1" / "model.onnx")) == []


def test_text_survives_any_name() -> None:
    class_name = 'a "b" \\ c\nd\tü'
    message = render({"name": class_name, "input": [{"name": "x", "dims": [1, -1], "data_type": Symbol("TYPE_FP32")}]})
    config = text_format.Parse(message, ModelConfig())
    assert config.name == class_name and list(config.input[0].dims) == [1, -1]
    assert text_format.Parse(render({"dynamic_batching": {}, "input": []}), ModelConfig()).HasField("dynamic_batching")
