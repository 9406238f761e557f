"""Which convolution of a block makes the channels that the block hands on."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.elementwise import BROADCASTING, UNARY
from trunkline.graph.graph import attribute, shape_of

_CHANNEL_BY_CHANNEL = (
    UNARY | BROADCASTING | {"AveragePool", "BatchNormalization", "InstanceNormalization", "MaxPool", "PRelu"}
)


def output_convolution(nodes: Sequence[ir.Node], output: ir.Value) -> ir.Node | None:
    """Return the convolution of a block from whose outputs its output is made channel by channel.

    Behind it are only normalisation, activation, pooling, depthwise convolutions and sums. Of a residual block it is
    the last one of the longer branch. There is none where branches are put behind each other.

    Args:
        nodes: The block's, in order.
        output: What it hands on.

    >>> from trunkline.ingest.read import read
    >>> graph = read("zoo:tiny")
    >>> output_convolution(graph.nodes, graph.outputs[-1]).name
    'stage3_block2_conv2'
    """
    inside = set(nodes)
    found: dict[ir.Node, None] = {}
    waiting, seen = [output], {output}
    while waiting:
        node = waiting.pop().producer()
        if node is None or node not in inside or not _has_channels_of(node, output):
            continue
        if node.op_type == "Conv" and attribute(node, "group", 1) == 1:
            found[node] = None
        elif node.op_type in _CHANNEL_BY_CHANNEL or _is_depthwise(node):
            new = [value for value in _maps_of(node) if value not in seen]
            seen.update(new)
            waiting += new
    depth = _depths(nodes)
    return max(found, key=lambda node: depth[node], default=None)


def _maps_of(node: ir.Node) -> list[ir.Value]:
    """Return the operands whose channels a node hands on: not the gates that an attention multiplies channels by."""
    values = image_inputs_of(node)
    if node.op_type not in BROADCASTING:
        return values
    return [value for value in values if shape_of(value) == shape_of(node.outputs[0])]


def _has_channels_of(node: ir.Node, output: ir.Value) -> bool:
    shape = shape_of(node.outputs[0])
    return len(shape) > 1 and shape[1] == shape_of(output)[1]


def _is_depthwise(node: ir.Node) -> bool:
    return node.op_type == "Conv" and attribute(node, "group", 1) == shape_of(node.outputs[0])[1]


def _depths(nodes: Sequence[ir.Node]) -> dict[ir.Node, int]:
    """Return how many convolutions of the block lie on the longest way to each node, itself counted."""
    depths: dict[ir.Node, int] = {}
    for node in nodes:
        before = [depths.get(producer, 0) for value in image_inputs_of(node) if (producer := value.producer())]
        depths[node] = max(before, default=0) + (node.op_type == "Conv")
    return depths
