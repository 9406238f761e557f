"""What a value is computed from, and what is computed from it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import Graph
from trunkline.graph.layers import is_layer


def ancestors(value: ir.Value) -> set[ir.Value]:
    """Return ``value`` and all it is computed from."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if item not in seen:
            seen.add(item)
            producer = item.producer()
            waiting += [] if producer is None else image_inputs_of(producer)
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
        for value in image_inputs_of(node):
            reached[value] = reached.get(value, 0) | bits
    return reached


def depths_of(graph: Graph) -> dict[ir.Value, int]:
    """Return for each computed value how many layers with weights lie on the longest way to it from the image."""
    depths: dict[ir.Value, int] = {}
    for node in graph.nodes:
        depth = max((depths.get(value, 0) for value in image_inputs_of(node)), default=0) + is_layer(node)
        depths.update(dict.fromkeys(node.outputs, depth))
    return depths
