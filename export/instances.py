"""Mask R-CNN as one ONNX file: camera bytes in, K boxes, scores, classes and small masks out.

The network is traced in its static form; suppression and the cutting of regions become ONNX's NonMaxSuppression and
RoiAlign. NonMaxSuppression's list of survivors is turned at once into scores of the old shape (GatherND, ScatterND), so
that no output's size depends on the picture.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import ModelError
from edgeseg.export import graph as g
from edgeseg.export.shape import ANY_BATCH, Shape, fix_batch, with_step
from edgeseg.manifest import INSTANCE_OUTPUTS, METADATA_KEY, Manifest

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

# What stands in the traced graph until the nodes are written out.
DOMAIN, SUPPRESS, ALIGN = "edgeseg", "Suppress", "AlignRegions"
# TensorRT's TopK takes no more.
LARGEST_TOPK = 3840


def build_instances(model: nn.Module, manifest: Manifest, shape: Shape = ANY_BATCH) -> onnx.ModelProto:
    """The ONNX model of a Mask R-CNN, checked by onnx's checker, not yet compared with torch.

    Args:
        model: `MaskRCNN`; not changed.
        manifest: height and width are the file's picture size, multiples of the network's stride; `max_detections` the
            rows of the answer, the network's own number where it is 0.
        shape: the batch; the size is fixed.

    Raises:
        ModelError: classes or the number of detections do not fit.
        UsageError: a size that is no multiple of the stride, or one to be left open.
    """
    import onnx
    import torch

    from edgeseg.export import camera, fold
    from edgeseg.export.static_detector import StaticDetector
    from edgeseg.export.trace import trace

    manifest = with_step(model, fitted(model, manifest), shape.free_size)
    folded = copy.deepcopy(model).eval().float().cpu()
    static = StaticDetector(folded, manifest.height, manifest.width, manifest.max_detections)  # type: ignore[arg-type]
    pairs = fold.norm_pairs(static, torch.zeros(1, 3, manifest.height, manifest.width))
    norms = fold.pack_norms(static, pairs)
    fold.fold_norms(static, pairs)
    proto = trace(_with_nodes(static), manifest.height, manifest.width, INSTANCE_OUTPUTS)
    _write_out(proto.graph)
    camera.add_camera(proto.graph, _triple(model.mean), _triple(model.std), manifest, (0, 0, 0, 0))
    g.prune(proto)
    fix_batch(proto, shape.batch)
    onnx.helper.set_model_props(proto, {METADATA_KEY: manifest.to_json(), fold.NORMS_KEY: norms})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def fitted(model: Any, manifest: Manifest) -> Manifest:
    """The manifest with what an instance network gives; errors as `build_instances`."""
    rows = manifest.max_detections or int(model.detector.roi_heads.detections_per_img)
    classes = int(model.detector.roi_heads.box_predictor.cls_score.out_features)
    if classes != len(manifest.classes):
        seen = f"{classes} and {len(manifest.classes)}"
        raise ModelError("network and class map have different numbers of classes", seen, "Give a class its name")
    model.output_size(manifest.height, manifest.width)
    proposals = model.detector.rpn.post_nms_top_n()
    if not 1 <= rows <= proposals * (classes - 1) or max(rows, proposals) > LARGEST_TOPK:
        seen = f"{rows} detections of {proposals} proposals"
        raise ModelError("impossible number of detections", seen, f"At most as many as proposals, and {LARGEST_TOPK}")
    return dataclasses.replace(manifest, task="instance", outputs=INSTANCE_OUTPUTS, max_detections=rows)


def _with_nodes(static: nn.Module) -> nn.Module:
    """A copy whose suppressions and regions export as single nodes."""
    import torch
    from torch import nn

    from edgeseg.export.static_detector import AlignRegions, Suppress

    def node(kind: str, inputs: tuple[Tensor, ...], shape: tuple[Any, ...], **attributes: Any) -> Tensor:
        made: Tensor = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{kind}", inputs, attrs=attributes, dtype=torch.float32, shape=shape, version=1
        )
        return made

    class SuppressNode(nn.Module):
        def __init__(self, like: Suppress) -> None:
            super().__init__()
            self.overlap, self.least = like.overlap, like.least

        def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
            return node(SUPPRESS, (boxes, scores), tuple(scores.shape), overlap=self.overlap, least=self.least)

    class AlignNode(nn.Module):
        def __init__(self, like: AlignRegions) -> None:
            super().__init__()
            self.size, self.scale = like.size, like.scale

        def forward(self, features: Tensor, regions: Tensor, images: Tensor) -> Tensor:
            shape = (regions.shape[0], features.shape[1], self.size, self.size)
            return node(ALIGN, (features, regions, images), shape, size=self.size, scale=self.scale)

    static = copy.deepcopy(static)
    for name, module in list(static.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if isinstance(module, Suppress):
            setattr(static.get_submodule(parent), leaf, SuppressNode(module))
        elif isinstance(module, AlignRegions):
            setattr(static.get_submodule(parent), leaf, AlignNode(module))
    return static


def _write_out(graph: onnx.GraphProto) -> None:
    """Replace the stand-ins by ONNX's own operators, in place."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.domain == DOMAIN and node.op_type in _BODIES:
            nodes += _BODIES[node.op_type](graph, node)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _suppression(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    from onnx import helper

    boxes, scores = node.input
    limits = [
        # No class has more boxes; what ONNX Runtime allocates does not follow this number.
        g.put(graph, "suppress.every", np.array([2**31 - 1], np.int64)),
        g.put(graph, f"{node.name}.overlap", np.array([g.attribute(node, "overlap")], np.float32)),
        g.put(graph, f"{node.name}.least", np.array([g.attribute(node, "least")], np.float32)),
    ]
    zero = g.put(graph, "suppress.zero", np.float32(0))
    survivors, values, empty = (f"{node.name}.{part}" for part in ("survivors", "values", "empty"))
    return [
        helper.make_node("NonMaxSuppression", [boxes, scores, *limits], [survivors], name=survivors),
        helper.make_node("GatherND", [scores, survivors], [values], name=values),
        helper.make_node("Mul", [scores, zero], [empty], name=empty),
        helper.make_node("ScatterND", [empty, survivors, values], [node.output[0]], name=node.name),
    ]


def _regions(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    from onnx import helper

    from edgeseg.models.maskrcnn import SAMPLING_RATIO

    size = g.attribute(node, "size")
    made = helper.make_node(
        "RoiAlign",
        list(node.input),
        list(node.output),
        name=node.name,
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=SAMPLING_RATIO,
        spatial_scale=g.attribute(node, "scale"),
        # torchvision's `aligned=False`.
        coordinate_transformation_mode="output_half_pixel",
    )
    return [made]


_BODIES = {SUPPRESS: _suppression, ALIGN: _regions}


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
