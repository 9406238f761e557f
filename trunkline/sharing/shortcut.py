"""A block's own shortcut: what leads past its main path where the shapes differ, such as a strided 1×1 convolution.

A residual block ends in an addition of two branches. The shortcut is the one that is a chain of linear nodes from the
block's input with at most one layer, while the other, the main path, has more. So of two convolutions side by side
neither is a shortcut, and a chain with an activation is none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.computed_weights import computes_weight, image_inputs_of
from trunkline.graph.graph import Shape, name_of, shape_of
from trunkline.graph.layers import is_layer

_LINEAR = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Concat", "Conv", "Div", "Identity", "Mul", "Pad", "Slice", "Sub"}
)
"""What shortcuts are made of: a projection, normalisation, pooling before them, channels filled up with zeros."""
_POOL = "MaxPool"
"""No linear node, but some networks subsample their shortcuts by it."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The nodes of a block's shortcut.

    Attributes:
        nodes: Their names, in order.
        output: Name of the value that the block adds to its main path.
    """

    nodes: tuple[str, ...]
    output: str


def shortcut_of(nodes: Sequence[ir.Node], start: str, shape: Shape) -> Shortcut | None:
    """Return the shortcut of a block, ``None`` if it has none.

    Args:
        nodes: The block's nodes, in order.
        start: Name of the value that the block reads.
        shape: Of what the block hands on; the shortcut's result must have it too.
    """
    # A branch of the main path may be a small residual block itself: the block's own addition is the last one.
    for node in reversed(nodes):
        branches = image_inputs_of(node)
        if node.op_type == "Add" and len(branches) == 2:
            chains = [_chain_to(branch, start, nodes) for branch in branches]
            layers = [_layers_before(branch, nodes) for branch in branches]
            for chain, own, other, branch in zip(chains, layers, layers[::-1], branches, strict=True):
                if chain and own <= 1 and own < other and shape_of(branch) == shape:
                    return Shortcut(tuple(map(name_of, chain)), name_of(branch))
            return None
    return None


def _chain_to(value: ir.Value, start: str, inside: Collection[ir.Node]) -> list[ir.Node] | None:
    """Return the linear nodes from the block's input to ``value``, ``None`` if something else lies between."""
    chain: list[ir.Node] = []
    while value.name != start:
        node = value.producer()
        if node is None or node not in inside or node.op_type not in {*_LINEAR, _POOL}:
            return None
        inputs = image_inputs_of(node)
        if len(inputs) != 1 or value is not node.outputs[0]:
            return None
        chain.append(node)
        (value,) = inputs
    return chain[::-1]


def _layers_before(value: ir.Value, nodes: Sequence[ir.Node]) -> int:
    """Return how many layers of a block a value depends on."""
    needed, count = {value}, 0
    for node in reversed(nodes):
        if not computes_weight(node) and not needed.isdisjoint(node.outputs):
            needed.update(image_inputs_of(node))
            count += is_layer(node)
    return count
