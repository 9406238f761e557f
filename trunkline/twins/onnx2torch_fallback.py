"""Operators that only onnx2torch knows.

It is tried last, and only for operators without weights: its modules copy the weights they find, so a shared
weight would silently become two. It needs a torchvision that matches torch, which is why it is an extra and is
imported here, at the moment it is needed.
"""

from __future__ import annotations

import importlib
from typing import Any

import onnx
import onnx_ir as ir
from torch import Tensor, nn

from trunkline.errors import UnsupportedOp
from trunkline.graph.graph import OPSET, inputs_of, name_of
from trunkline.graph.roles import role_of
from trunkline.twins.op import Op, Result

_RECIPE = "add one function to one file of trunkline/twins/ops (the recipe is in twins/registry.py)"


class ForeignOp(Op):
    """A module of onnx2torch, called with the inputs it wants: ``reads`` are their positions in the node."""

    def __init__(self, module: nn.Module, reads: tuple[int, ...]) -> None:
        super().__init__(module)
        self.reads = reads

    def forward(self, *inputs: Tensor | None) -> Result:
        """Return the node's output, or a tuple of them."""
        result: Result = self.function(*(inputs[index] for index in self.reads))
        return result


def foreign_op(node: ir.Node) -> Op:
    """Return onnx2torch's module for ``node``.

    Raises:
        UnsupportedOp: onnx2torch is not installed, does not load, or does not know the operator either; or the
            operator has weights, which must be shared by name.
    """
    weights = [name_of(value) for value in inputs_of(node) if value.is_initializer() and role_of(value) != "static"]
    if weights:
        raise _no_twin_error(node, f"it is not asked for operators with weights ({', '.join(weights)})")
    try:
        registry = importlib.import_module("onnx2torch.node_converters.registry")
        # The converters enter themselves into the registry when they are imported.
        importlib.import_module("onnx2torch.node_converters")
    except ModuleNotFoundError as error:
        raise _no_twin_error(node, f"{error.name} is not installed (pip install 'trunkline[onnx2torch]')") from error
    except (ImportError, OSError, RuntimeError) as error:
        # A torchvision built for another torch fails while it registers its C++ operators, with any of these.
        reason = str(error).splitlines()[0]
        raise _no_twin_error(node, f"it does not load ({reason}); install a torchvision that matches torch") from error
    return _convert(node, registry)


def _convert(node: ir.Node, registry: Any) -> Op:
    """Return onnx2torch's module for ``node``, from the registry of its converters."""
    graph_module = importlib.import_module("onnx2torch.onnx_graph")
    onnx_graph = graph_module.OnnxGraph(_lone_graph(node))
    onnx_node = next(iter(onnx_graph.nodes.values()))
    try:
        converter = registry.get_converter(node.op_type, OPSET, node.domain)
        converted = converter(onnx_node, onnx_graph)
    except (NotImplementedError, KeyError, ValueError) as error:
        raise _no_twin_error(node, f"it cannot either ({error})") from error
    names = ["" if value is None else value.name for value in node.inputs]
    # Static arguments are inside the module by now: it is called with the remaining inputs, known by name.
    reads = [names.index(name) for name in converted.onnx_mapping.inputs if name]
    return ForeignOp(converted.torch_module, tuple(reads))


def _lone_graph(node: ir.Node) -> onnx.GraphProto:
    """Return a graph of this one node; onnx2torch reads static arguments and shapes from it."""
    data = [value for value in inputs_of(node) if not value.is_initializer()]
    static = [value.const_value for value in inputs_of(node) if value.const_value is not None]
    return onnx.GraphProto(
        name=name_of(node),
        node=[ir.serde.serialize_node(node)],
        input=[ir.serde.serialize_value(value) for value in data],
        output=[ir.serde.serialize_value(value) for value in node.outputs],
        initializer=[ir.serde.serialize_tensor(tensor) for tensor in static],
    )


def _no_twin_error(node: ir.Node, reason: str) -> UnsupportedOp:
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return UnsupportedOp(
        f"operator {operator} has no trainable twin",
        place=name_of(node),
        advice=f"{_RECIPE}, or use onnx2torch: {reason}",
    )
