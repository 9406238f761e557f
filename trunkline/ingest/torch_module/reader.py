"""From a torch module to a Graph, by way of torch's own exporter, with the module's names for its parameters."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import CONSTANT, ROLE_KEY, SOURCE_KEY, Graph
from trunkline.graph.passes.base import run_passes
from trunkline.graph.roles import size_of
from trunkline.graph.unique_names import UniqueNames
from trunkline.ingest.onnx_file.passes.lift_constants import LiftConstants
from trunkline.ingest.onnx_file.passes.torch_kinds import mark_kinds, noted_parameters
from trunkline.ingest.onnx_file.reader import canonical_graph
from trunkline.ingest.torch_module.exporter import export_module
from trunkline.limits import DEFAULT_LIMITS, Budget, Limits
from trunkline.text import quoted, shape_text

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules a node was called in, the node's own name last."""
_SHOWN = 4
"""Parameters that a note names, at most."""


def read_module(module: nn.Module, example: Tensor, *, name: str = "", limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Return the Graph of ``module``, exported in evaluation mode; the module itself is left as it was.

    Parameters keep their names (``layer1.0.conv1.weight``); buffers and other constants do not train, nor does what
    the module holds frozen (``requires_grad`` is false).

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
        shape = f"{example.dtype} {shape_text(example.shape)}"
        raise InvalidModel(f"the example is {shape}; one image batch [N, C, H, W] of float was expected", place=label)
    # Two images: torch.export takes a batch of one for a fixed size.
    model = export_module(module, example[:1].float().repeat(2, 1, 1, 1).cpu(), label)
    parameters = noted_parameters(model.graph)
    frozen = [name for name, tensor in _parameters(module).items() if name in parameters and not tensor.requires_grad]
    notes = (*_frozen_notes(model.graph, frozen), *_unused_notes(module, parameters))
    mark_kinds(model.graph, frozen)
    run_passes(model.graph, [LiftConstants(Budget(limits))])
    # What has no role by now was a constant in the module's code, which does not train.
    for value in model.graph.initializers.values():
        value.metadata_props.setdefault(ROLE_KEY, CONSTANT)
    _note_modules(model.graph, label)
    graph = canonical_graph(model, Path(label), input_size=None, limits=limits)
    _name_by_module(graph.model.graph, label)
    return Graph(graph.model, (*graph.notes, *notes))


def _note_modules(graph: ir.Graph, label: str) -> None:
    """Note for each node the submodule that computes it, and drop the exporter's own notes."""
    for node in graph:
        scopes: list[str] = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))  # a list as Python writes it
        node.metadata_props.clear()
        node.metadata_props[SOURCE_KEY] = f"{label}:{scopes[-2] if len(scopes) > 1 else ''}"


def _name_by_module(graph: ir.Graph, label: str) -> None:
    """Name nodes and values as the module's author does: ``layer1.0.conv1``, ``layer1.0`` for the block's own sum."""
    names = UniqueNames([*graph.initializers, *(value.name for value in graph.inputs)])
    for node in graph:
        path = node.metadata_props[SOURCE_KEY].removeprefix(f"{label}:")
        node.name = names.take(path or node.op_type.lower())
        for index, value in enumerate(node.outputs):
            value.name = node.name if index == 0 else names.take(f"{node.name}.{index}")


def _parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return all parameters under every name they have: a shared one has several."""
    return dict(module.named_parameters(remove_duplicate=False))


def _frozen_notes(graph: ir.Graph, frozen: Sequence[str]) -> tuple[str, ...]:
    if not frozen:
        return ()
    count = sum(size_of(graph.initializers[name]) for name in frozen)
    shown = ", ".join(map(quoted, frozen[:_SHOWN])) + (", …" if len(frozen) > _SHOWN else "")
    how = "module.requires_grad_(True) before reading lets them"
    return (f"{count:,} numbers that the module holds frozen (requires_grad) do not train: {shown}; {how}",)


def _unused_notes(module: nn.Module, used: Sequence[str]) -> tuple[str, ...]:
    """Return a note about parameters that the exported network lacks, if there are any.

    A module may compute something from a parameter once and use that as long as it does not train.
    """
    seen = {id(tensor) for name, tensor in _parameters(module).items() if name in used}
    unused = {name: tensor for name, tensor in module.named_parameters() if id(tensor) not in seen}
    if not unused:
        return ()
    count, names = sum(tensor.numel() for tensor in unused.values()), list(unused)
    shown = ", ".join(map(quoted, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
    return (f"{count:,} numbers of the module's parameters are not used in evaluation mode: {shown}",)
