"""From a torch module to a Graph, by way of torch's own exporter, with the module's names for its parameters."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import CONSTANT, PARAMETER, ROLE_KEY, SOURCE_KEY, Graph, is_weight
from trunkline.ingest.limits import Limits
from trunkline.ingest.onnx_file.reader import canonical_graph
from trunkline.ingest.torch_export import export_module

if TYPE_CHECKING:
    from torch import Tensor, nn

_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
"""Where torch's exporter notes whether a tensor was a parameter or a buffer."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where it notes the modules a node was called in, the node's own name last."""


def read_module(module: nn.Module, example: Tensor, *, name: str = "", limits: Limits | None = None) -> Graph:
    """Return the Graph of ``module``, exported in evaluation mode; the module itself is left as it was.

    Parameters keep their names (``layer1.0.conv1.weight``); buffers and other constants do not train.

    Args:
        module: Takes one image batch ``[N, C, H, W]`` and returns a tensor, or several.
        example: An image batch of the size to read the network for; its content does not matter.
        name: The network's name; the module's class name by default.
        limits: What the network may ask for.

    Raises:
        InvalidModel: torch cannot export it, or it does not take one image batch.
        UnsupportedOp: It holds operators that are not supported.
    """
    label = name or type(module).__name__
    if example.dim() != 4 or not example.dtype.is_floating_point:
        shape = f"{example.dtype} {list(example.shape)}"
        raise InvalidModel(f"the example is {shape}; one image batch [N, C, H, W] of float was expected", place=label)
    model = export_module(module, example[:1].float().repeat(2, 1, 1, 1).cpu(), label)
    parameters = {name for name, value in model.graph.initializers.items() if _is_parameter(value)}
    _mark_roles(model.graph, parameters)
    _note_modules(model.graph, label)
    graph = canonical_graph(model, Path(label), input_size=None, limits=limits or Limits())
    _name_by_module(graph.model.graph, label)
    _mark_roles(graph.model.graph, parameters)
    return graph


def _note_modules(graph: ir.Graph, label: str) -> None:
    """Note for each node the submodule that computes it, and drop the exporter's own notes."""
    for node in graph:
        scopes: list[str] = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        node.metadata_props.clear()
        node.metadata_props[SOURCE_KEY] = f"{label}:{scopes[-2] if len(scopes) > 1 else ''}"


def _name_by_module(graph: ir.Graph, label: str) -> None:
    """Name nodes and values as the module's author does: ``layer1.0.conv1``, ``layer1.0`` for the block's own sum."""
    taken = {*graph.initializers, *(value.name for value in graph.inputs)}
    for node in graph:
        path = node.metadata_props[SOURCE_KEY].removeprefix(f"{label}:")
        node.name = _free(path or node.op_type.lower(), taken)
        for index, value in enumerate(node.outputs):
            value.name = node.name if index == 0 else _free(f"{node.name}.{index}", taken)


def _free(name: str, taken: set[str | None]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _is_parameter(value: ir.Value) -> bool:
    return value.metadata_props.get(_KIND) == "PARAMETER"


def _mark_roles(graph: ir.Graph, parameters: set[str]) -> None:
    """Mark what would be taken for something else: buffers, and parameters that are one number without axes."""
    for name, value in graph.initializers.items():
        value.metadata_props.pop(_KIND, None)
        if not is_weight(value) or value.shape is None:
            continue
        if name not in parameters:
            value.metadata_props[ROLE_KEY] = CONSTANT
        elif len(value.shape) == 0:
            value.metadata_props[ROLE_KEY] = PARAMETER
