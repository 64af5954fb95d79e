"""From a torch module to a plain ONNX graph: torch's exporter, with the decoder's fused step kept as one node."""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeseg.export import fused_step, shape

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

OPSET = 19
IR_VERSION = 10
INPUT, LOGITS = "normalized", "raw_logits"


def trace(
    model: nn.Module, height: int, width: int, outputs: Sequence[str] = (LOGITS,), step: int | None = None
) -> onnx.ModelProto:
    """Export `model` for float32 [N, in_channels, height, width], N dynamic.

    With `step` height and width are left open, too: any multiples of it.

    The graph's input is `normalized`, its outputs have the names of `outputs`. A convolution is named after its
    module's path ("encoder.stem.0"), other nodes after their module and operator ("encoder.stem.2.clip"), and every
    node's output after the node. Weights keep their names in the state_dict.

    Raises:
        ModelError: the size was to be left open, and the network's graph does not allow that.
    """
    import torch

    dimensions: dict[int, Any] = {0: torch.export.Dim("N")}
    if step is not None:
        # Of what is one or two steps long torch would take the number for a constant.
        height, width = 3 * step, 5 * step
        dimensions |= {2: step * torch.export.Dim("rows"), 3: step * torch.export.Dim("columns")}
    example = torch.zeros(2, in_channels(model), height, width)
    with warnings.catch_warnings():
        # torch's exporter warns about deprecated corners of torch itself; nothing a user could act on.
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _with_step_nodes(model),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=(dimensions,),
                verbose=False,
            )
        except Exception as error:  # one of many, by where in the network it met a number
            if step is None:
                raise
            raise shape.holds_sizes(f"{type(model).__name__} ({type(error).__name__})") from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    if step is not None:
        shape.check_traced(proto)
    _rename(proto.graph)
    _strip(proto)
    return proto


def in_channels(model: nn.Module) -> int:
    """Channels of the model's input: 3, or 4 where it has a memory."""
    return int(getattr(model, "in_channels", 3))


def _with_step_nodes(model: nn.Module) -> nn.Module:
    """A copy of the model whose fused steps export as single nodes."""
    import torch
    from torch import nn

    from edgeseg.models.ops import UpsampleCropConcat

    class Step(nn.Module):
        def __init__(self, scale: int, mode: str) -> None:
            super().__init__()
            self.scale = scale
            self.attributes: dict[str, Any] = {"scale": scale, "mode": mode, **fused_step.PLUGIN}

        def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
            rows, columns = deep.shape[2] * self.scale, deep.shape[3] * self.scale
            result: Tensor = torch.onnx.ops.symbolic(
                f"{fused_step.DOMAIN}::{fused_step.OP_TYPE}",
                (deep, skip),
                attrs=self.attributes,
                dtype=deep.dtype,
                shape=(deep.shape[0], skip.shape[1] + deep.shape[1], rows, columns),
                version=1,
            )
            return result

    model = copy.deepcopy(model).eval()
    for name, module in list(model.named_modules()):
        if isinstance(module, UpsampleCropConcat):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, Step(module.scale, module.mode))
    return model


def _rename(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    tensors: dict[str, str] = {}
    fixed = {value.name for value in graph.output}
    for node in graph.node:
        stem = _readable(node)
        node.name, number = stem, 1
        while node.name in taken:
            number += 1
            node.name = f"{stem}_{number}"
        taken.add(node.name)
        if len(node.output) == 1 and node.output[0] not in fixed:
            tensors[node.output[0]] = node.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [tensors.get(name, name) for name in names]


def _readable(node: onnx.NodeProto) -> str:
    if node.op_type == "Conv" and node.input[1].endswith(".weight"):
        return str(node.input[1].removesuffix(".weight"))
    scopes: Any = [""]
    for item in node.metadata_props:
        if item.key == "pkg.torch.onnx.name_scopes":
            scopes = ast.literal_eval(item.value)
    path = scopes[-2] if len(scopes) > 1 else ""
    if node.op_type == fused_step.OP_TYPE and path:
        return str(path)
    return f"{path}.{node.op_type.lower()}".lstrip(".")


def _strip(model: onnx.ModelProto) -> None:
    """Drop what torch adds for debugging (stack traces of every node) and set the versions."""
    from onnx import helper

    graph = model.graph
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:], model.functions[:], model.opset_import[:]
    model.ir_version, model.producer_name, model.producer_version, graph.name = IR_VERSION, "edgeseg", "", "edgeseg"
    model.opset_import.append(helper.make_opsetid("", OPSET))
    if any(node.domain == fused_step.DOMAIN for node in graph.node):
        model.opset_import.append(helper.make_opsetid(fused_step.DOMAIN, 1))
