"""What a value is computed from, and what is computed from it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.ingest.blocks import MATRIX_OPS
from trunkline.ingest.graph import Graph, data_inputs_of
from trunkline.ingest.parameters import role_at


def ancestors(value: ir.Value) -> set[ir.Value]:
    """Return ``value`` and all it is computed from."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if item not in seen:
            seen.add(item)
            producer = item.producer()
            waiting += [] if producer is None else data_inputs_of(producer)
    return seen


def descendants(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that depend on ``value``."""
    found: dict[ir.Node, None] = {}
    waiting = [value]
    while waiting:
        readers = [node for node in waiting.pop().consumers() if node not in found]
        found.update(dict.fromkeys(readers))
        waiting += [output for node in readers for output in node.outputs]
    return list(found)


def reached(graph: Graph, ends: Sequence[ir.Value]) -> dict[ir.Value, int]:
    """Return for each value the ends that depend on it, as bits."""
    reached = {value: 1 << index for index, value in enumerate(ends)}
    for node in reversed(graph.nodes):
        bits = 0
        for value in node.outputs:
            bits |= reached.get(value, 0)
        for value in data_inputs_of(node):
            reached[value] = reached.get(value, 0) | bits
    return reached


def has_weights(node: ir.Node) -> bool:
    """Whether a node multiplies by weights that train."""
    return node.op_type in MATRIX_OPS and reads_parameters(node)


def reads_parameters(node: ir.Node) -> bool:
    """Whether a stored tensor is a parameter to this node; asking the node is cheap however many others read it."""
    stored = (index for index, value in enumerate(node.inputs) if value is not None and value.is_initializer())
    return any(role_at(node, index) == "parameter" for index in stored)
