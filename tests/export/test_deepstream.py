"""The nvinferserver configuration against its published schema, and the parser compiled and called.

The schema below is written after nvdsinferserver_plugin.proto, _config.proto and _common.proto (package
nvdsinferserver.config; github.com/NVIDIA/DeepStream, includes/, 9.x): names, numbers, types and enumerators of what the
configuration uses. Nested messages stand at the top here, which text does not see. No DeepStream runs here.
"""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

import edgeseg
from edgeseg.errors import ModelError, OutputError
from edgeseg.export.deepstream import PARSER, config_text, write_deepstream
from edgeseg.export.triton_repository import Served, describe, write_repository
from edgeseg.runtime.postprocess import threshold_byte
from edgeseg.runtime.preprocess import Preprocessor
from edgeseg.runtime.segmenter import manifest_of
from edgeseg.runtime.zoo import find_model

STAND_IN = Path(__file__).parent / "stand_in"
ENUMS = {
    "MediaFormat": ["MEDIA_FORMAT_NONE", "IMAGE_FORMAT_RGB", "IMAGE_FORMAT_BGR", "IMAGE_FORMAT_GRAY"],
    "TensorOrder": ["TENSOR_ORDER_NONE", "TENSOR_ORDER_LINEAR", "TENSOR_ORDER_NHWC"],
    "FrameScalingHW": ["FRAME_SCALING_HW_DEFAULT", "FRAME_SCALING_HW_GPU", "FRAME_SCALING_HW_VIC"],
    "ProcessMode": ["PROCESS_MODE_DEFAULT", "PROCESS_MODE_FULL_FRAME", "PROCESS_MODE_CLIP_OBJECTS"],
}
# A field: name, number, type; * in front of repeated ones.
MESSAGES = {
    "PluginControl": "infer_config 1 InferenceConfig, input_control 2 InputControl, output_control 3 OutputControl",
    "InputControl": "process_mode 1 ProcessMode, operate_on_gie_id 2 int32, interval 4 uint32",
    "OutputControl": "output_tensor_meta 1 bool",
    "InferenceConfig": "unique_id 1 uint32, *gpu_ids 2 int32, max_batch_size 3 uint32, backend 4 BackendParams, "
    "preprocess 5 PreProcessParams, postprocess 6 PostProcessParams, custom_lib 7 CustomLib, lstm 9 LstmParams",
    "BackendParams": "triton 4 TritonParams",
    "TritonParams": "model_name 1 string, version 2 int64, model_repo 4 TritonModelRepo",
    "TritonModelRepo": "*root 1 string, log_level 2 uint32, strict_model_config 3 bool",
    "PreProcessParams": "network_format 1 MediaFormat, tensor_order 2 TensorOrder, tensor_name 3 string, "
    "maintain_aspect_ratio 4 int32, frame_scaling_hw 5 FrameScalingHW, frame_scaling_filter 6 uint32, "
    "normalize 7 ScaleNormalize, symmetric_padding 8 int32",
    "ScaleNormalize": "scale_factor 1 float, *channel_offsets 2 float, mean_file 3 string",
    "PostProcessParams": "labelfile_path 1 string, segmentation 4 SegmentationParams, other 5 OtherNetworkParams",
    "SegmentationParams": "threshold 1 float, num_segmentation_classes 2 int32, "
    "custom_parse_segmentation_func 3 string",
    "OtherNetworkParams": "type_name 1 string",
    "CustomLib": "path 1 string",
    "LstmParams": "*loops 1 LstmLoop",
    "LstmLoop": "input 1 string, output 2 string, init_const 3 InitConst, keep_output 4 bool",
    "InitConst": "value 1 float",
}


def plugin_control() -> Any:
    """The class of the outermost message."""
    file = descriptor_pb2.FileDescriptorProto(name="nvdsinferserver.proto", package="ds", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in fields.split(", "):
            field_name, number, kind = line.split()
            field = message.field.add(name=field_name.lstrip("*"), number=int(number))
            field.label = field.LABEL_REPEATED if field_name.startswith("*") else field.LABEL_OPTIONAL
            if kind in ENUMS or kind in MESSAGES:
                field.type = field.TYPE_ENUM if kind in ENUMS else field.TYPE_MESSAGE
                field.type_name = f".ds.{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ds.PluginControl"))


@pytest.fixture(scope="module")
def schema() -> Any:
    return plugin_control()


@pytest.fixture
def person(tmp_path: Path) -> Served:
    """The shipped model, in a repository."""
    file = find_model("person").files["fp32"]
    served = describe(file, tmp_path / "models")
    write_repository(served, file)
    return served


def changed(served: Served, **fields: Any) -> Served:
    """The same with other words in its manifest."""
    return dataclasses.replace(served, manifest=dataclasses.replace(served.manifest, **fields))


def test_the_configuration_says_what_the_model_takes(person: Served, schema: Any, tmp_path: Path) -> None:
    path = write_deepstream(person, tmp_path / "deepstream")
    config = text_format.Parse(path.read_text(), schema())
    infer = config.infer_config
    triton, before, after = infer.backend.triton, infer.preprocess, infer.postprocess
    assert (triton.model_name, triton.version, infer.max_batch_size) == ("person", -1, person.max_batch)
    # Packed uint8 BGR, as the file takes it: scale 1 and no offsets leave the bytes as they are.
    assert (before.network_format, before.tensor_order, before.tensor_name) == (2, 2, "image")
    assert before.normalize.scale_factor == 1 and list(before.normalize.channel_offsets) == [0, 0, 0]
    assert (before.maintain_aspect_ratio, before.symmetric_padding) == (0, 0)
    assert after.segmentation.custom_parse_segmentation_func == PARSER
    assert (after.segmentation.num_segmentation_classes, after.segmentation.threshold) == (2, 0.5)
    assert config.input_control.process_mode == 1 and not infer.HasField("lstm")
    # nvinferserver joins relative paths to the configuration's folder.
    assert (path.parent / triton.model_repo.root[0]).resolve() == (tmp_path / "models").resolve()
    assert (path.parent / after.labelfile_path).read_text() == "background\nperson\n"
    assert infer.custom_lib.path.startswith("./"), "a path without a slash is looked for in the system's folders"
    assert Path(infer.custom_lib.path).name in (path.parent / "Makefile").read_text()
    told = (path.parent / "README.md").read_text()
    assert "$" not in told and f"config-file-path={path.name}" in told and "width=256 height=256" in told


def test_other_models(person: Served, schema: Any, tmp_path: Path) -> None:
    letterbox = text_format.Parse(config_text(changed(person, fit="letterbox"), tmp_path), schema()).infer_config
    assert (letterbox.preprocess.maintain_aspect_ratio, letterbox.preprocess.symmetric_padding) == (1, 1)
    memory = text_format.Parse(config_text(changed(person, memory=True), tmp_path), schema()).infer_config
    assert memory.max_batch_size == 1, "nvinferserver has a memory for one stream"
    loop = memory.lstm.loops[0]
    assert (loop.input, loop.output, loop.init_const.value) == ("previous_probability", "probability", 0)
    assert loop.keep_output, "the parser reads it, too"
    many = changed(person, outputs=("label_map",))
    assert not text_format.Parse(config_text(many, tmp_path), schema()).infer_config.postprocess.segmentation.threshold


def test_the_schema_refuses_what_it_does_not_know(person: Served, schema: Any, tmp_path: Path) -> None:
    text = config_text(person, tmp_path)
    for right, wrong in (
        ("tensor_order:", "tensor_ordering:"),
        ("TENSOR_ORDER_NHWC", "TENSOR_ORDER_HWC"),
        ("IMAGE_FORMAT_BGR", "2.5"),
        ("max_batch_size: 4", 'max_batch_size: "4"'),
        ("custom_lib {", "custom_lib: {{"),
    ):
        assert right in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(right, wrong), schema())


def test_models_that_deepstream_cannot_run(person: Served, tmp_path: Path) -> None:
    image = person.inputs[0]
    free = dataclasses.replace(image, shape=(-1, -1, -1, 3))
    four = dataclasses.replace(image, shape=(4, 256, 256, 3))
    for served, told in (
        (changed(person, task="instance"), "instances"),
        (changed(person, output_height=200, output_width=200), "200x200"),
        (dataclasses.replace(person, inputs=(free,)), "known size"),
        (dataclasses.replace(person, inputs=(four,), max_batch=0), "one picture"),
    ):
        with pytest.raises(ModelError, match=told):
            write_deepstream(served, tmp_path / "deepstream")
    assert not (tmp_path / "deepstream").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_deepstream(person, tmp_path / "file")


def test_what_others_put_there_stays(person: Served, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:")
    with pytest.raises(OutputError, match="something else .*Makefile"):
        write_deepstream(person, tmp_path)
    assert (tmp_path / "Makefile").read_text() == "all:"
    # Its own folder takes a second model, and the first one anew.
    for served in (person, dataclasses.replace(person, name="other"), person):
        assert write_deepstream(served, tmp_path / "deepstream").name == f"config_infer_{served.name}.txt"
    assert len(list((tmp_path / "deepstream").iterdir())) == 5


Call = Callable[..., tuple[int, npt.NDArray[np.int32]]]


@pytest.fixture(scope="module")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """The parser as `edgeseg export` writes it, built with a stand-in for DeepStream's header, behind a C function."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to build the parser with")
    folder = tmp_path_factory.mktemp("parser")
    file = find_model("person").files["fp32"]
    write_deepstream(describe(file, folder / "models"), folder)
    sources = [str(folder / "edgeseg_labels.cpp"), str(STAND_IN / "call_parser.cpp")]
    options = ["-std=c++14", "-Wall", "-Wextra", "-Wpedantic", "-Wno-error=pedantic", "-Werror", "-shared", "-fPIC"]
    command = [compiler, *options, f"-I{STAND_IN}", "-o", str(folder / "parser.so"), *sources]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "parser.so"))
    library.call_parser.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int] * 2]
    library.call_parser.argtypes += [*[ctypes.c_uint] * 4, ctypes.c_float, ctypes.c_void_p]

    def call(
        tensors: dict[str, npt.NDArray[np.uint8]],
        size: tuple[int, int],
        threshold: float = 0.0,
        kind: int = 5,
        leading_one: bool = False,
    ) -> tuple[int, npt.NDArray[np.int32]]:
        names = (ctypes.c_char_p * len(tensors))(*[name.encode() for name in tensors])
        kept = [np.ascontiguousarray(value) for value in tensors.values()]
        buffers = (ctypes.c_void_p * len(tensors))(*[value.ctypes.data for value in kept])
        rows, columns = kept[0].shape
        class_map = np.full(size, -7, np.int32)
        more = (rows, columns, *size, threshold, class_map.ctypes.data)
        return library.call_parser(len(kept), names, buffers, kind, int(leading_one), *more), class_map

    return call


def test_the_parser_gives_the_models_labels(parse: Call) -> None:
    file = find_model("person").files["fp32"]
    with av.open(str(Path(edgeseg.__file__).parent / "clips" / "demo.mp4")) as clip:
        frame = next(clip.decode(video=0)).to_ndarray(format="bgr24")
    picture, _ = Preprocessor(manifest_of(file))(frame)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = ["label_map", "probability"]
    answer = dict(zip(names, (value[0] for value in session.run(names, {"image": picture})), strict=True))
    assert answer["label_map"].any() and not answer["label_map"].all()
    for kind in (2, 5):  # INT8 before DeepStream knew UINT8
        for leading_one in (False, True):
            code, class_map = parse(answer, (256, 256), 0.5, kind, leading_one)
            assert code == 1 and np.array_equal(class_map, answer["label_map"])
    for threshold in (0.1, 0.3, 0.6, 0.7, 0.9, 1.0):
        code, class_map = parse(answer, (256, 256), threshold)
        assert code == 1 and np.array_equal(class_map, answer["probability"] >= threshold_byte(threshold)), threshold


def test_the_parser_on_many_classes_and_on_what_does_not_fit(parse: Call) -> None:
    labels = np.arange(60 * 80, dtype=np.uint8).reshape(60, 80)
    code, class_map = parse({"logits": labels, "label_map": labels}, (60, 80), 0.5)
    assert code == 1 and np.array_equal(class_map, labels), "without a probability the threshold says nothing"
    assert class_map.max() == 255, "bytes above 127 are no negative numbers"
    for tensors, size, kind in (
        ({"labels": labels}, (60, 80), 5),
        ({"label_map": labels}, (80, 60), 5),
        ({"label_map": labels}, (60, 80), 0),
    ):
        code, class_map = parse(tensors, size, 0.0, kind)
        assert code == 0 and (class_map == -7).all()
