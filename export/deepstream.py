"""A Gst-nvinferserver configuration over a Triton repository, and the parser that makes the label map of its answer.

    DIR/config_infer_NAME.txt      for nvinferserver's property config-file-path
    DIR/edgeseg_labels.cpp         the parser; `make` beside it builds libedgeseg_labels.so
    DIR/Makefile, DIR/README.md

Plain nvinfer prepares planar float for TensorRT. nvinferserver asks Triton for the input's type and feeds packed uint8
in the order that is asked for: with a scale of 1 and no offsets the bytes stay as they are.

Three ways lead from the model's uint8 map to metadata on the frame (NVIDIA/DeepStream, src/utils/nvdsinferserver and
src/gst-plugins/gst-nvinferserver, 9.x). The parser of the segmentation postprocess is taken: it fills an array, and
nvinferserver itself attaches it as NvDsInferSegmentationMeta, locked and released as its own. A custom processor
(IInferCustomProcessor) would have to take metadata from the batch's pool by itself, and a probe on output_tensor_meta
is code of the application. The schema of 6.2 lacks the fields that name a parser; sources of 2023 and later have them.
"""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import Any

from edgeseg.errors import ModelError, OutputError
from edgeseg.export.prototext import Symbol, render
from edgeseg.export.to_onnx import written_aside
from edgeseg.export.triton_repository import LABELS, Served
from edgeseg.manifest import PREVIOUS

PARSER = "EdgesegParseLabelMap"
LIBRARY = "libedgeseg_labels.so"
_TEMPLATES = Path(__file__).with_name("templates")
_SOURCES = ("edgeseg_labels.cpp", "Makefile")
_HEADER = "# Written by edgeseg export --deepstream, and anew by the next one. README.md says how it is used.\n"


def write_deepstream(served: Served, folder: Path) -> Path:
    """Write the configuration of a model in a repository, and the parser's source; earlier ones are replaced.

    Args:
        served: a model that `write_repository` has put there.
        folder: made where it is missing; it may hold the configurations of several models.

    Returns:
        The configuration.

    Raises:
        ModelError: the model gives no label map of its input's size, or takes no single frame.
        OutputError: the folder cannot be written, or holds other files of these names.
    """
    check_fit(served)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot make the folder", f"{folder} ({error.strerror})", "Choose another place") from None
    config = folder / f"config_infer_{served.name}.txt"
    files = {name: (_TEMPLATES / name).read_text(encoding="utf-8") for name in _SOURCES}
    files |= {"README.md": readme(served, config.name), config.name: config_text(served, folder)}
    taken = [name for name in files if (folder / name).exists()]
    if taken and not (folder / _SOURCES[0]).exists():
        raise OutputError("something else lies where the file goes", folder / taken[0], "Choose another folder")
    for name, text in files.items():
        with written_aside(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return config


def check_fit(served: Served) -> None:
    """Raise ModelError for what nvinferserver cannot run as it is."""
    manifest, batch = served.manifest, served.inputs[0].shape[0]
    if manifest.task != "semantic":
        todo = "Serve it by --triton alone, and read its boxes and masks from the tensors"
        raise ModelError("DeepStream's segmentation metadata holds no instances", manifest.name, todo)
    if manifest.tiled:
        seen = f"{manifest.name}: {manifest.output_height}x{manifest.output_width} of the input"
        raise ModelError("DeepStream cuts no frame into tiles", seen, "Take a network that answers for its whole input")
    if -1 in served.inputs[0].shape[1:] or batch > 1:
        seen = f"image {list(served.inputs[0].shape)}"
        raise ModelError("DeepStream wants one picture of a known size", seen, "Export the model with --size")


def config_text(served: Served, folder: Path) -> str:
    """The configuration: protobuf text of `PluginControl`, nvdsinferserver_plugin.proto.

    Paths in it are relative to its folder, so that both folders may move together.
    """
    manifest = served.manifest
    letterbox = int(manifest.fit == "letterbox")
    segmentation: dict[str, Any] = {"num_segmentation_classes": len(manifest.classes)}
    if manifest.two_class:
        segmentation["threshold"] = manifest.threshold
    infer: dict[str, Any] = {
        "unique_id": 1,
        "gpu_ids": [0],
        # nvinferserver feeds a model its last answer for one stream only.
        "max_batch_size": 1 if manifest.memory else max(1, served.max_batch),
        "backend": {
            "triton": {
                "model_name": served.name,
                "version": -1,
                "model_repo": {"root": relative(served.repository, folder), "strict_model_config": True},
            }
        },
        "preprocess": {
            "network_format": Symbol("IMAGE_FORMAT_BGR"),
            "tensor_order": Symbol("TENSOR_ORDER_NHWC"),
            "tensor_name": "image",
            "maintain_aspect_ratio": letterbox,
            "symmetric_padding": letterbox,
            "frame_scaling_hw": Symbol("FRAME_SCALING_HW_DEFAULT"),
            "frame_scaling_filter": 1,  # NvBufSurfTransformInter_Bilinear
            "normalize": {"scale_factor": 1.0, "channel_offsets": [0, 0, 0]},
        },
        "postprocess": {
            "labelfile_path": f"{relative(served.folder, folder)}/{LABELS}",
            "segmentation": {**segmentation, "custom_parse_segmentation_func": PARSER},
        },
        "custom_lib": {"path": f"./{LIBRARY}"},
    }
    if manifest.memory:
        loop = {"input": PREVIOUS, "output": "probability", "init_const": {"value": 0}, "keep_output": True}
        infer["lstm"] = {"loops": [loop]}
    message = {
        "infer_config": infer,
        "input_control": {"process_mode": Symbol("PROCESS_MODE_FULL_FRAME"), "interval": 0},
        "output_control": {"output_tensor_meta": False},
    }
    return _HEADER + render(message)


def relative(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def readme(served: Served, config: str) -> str:
    """How to build the parser and to run the model, for the README beside them."""
    manifest = served.manifest
    cut = (
        "`segmentation { threshold }` is the probability from which a pixel is 1, above 0. "
        if manifest.two_class
        else ""
    )
    text = (_TEMPLATES / "README.md").read_text(encoding="utf-8")
    return Template(text).substitute(
        name=served.name, config=config, width=manifest.width, height=manifest.height, threshold=cut
    )
