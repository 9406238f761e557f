"""Blocks: what a backbone is made of between its branching points, of which tasks share some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.branching import branching_of, joined_segments
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph, Shape, name_of, shape_of
from trunkline.graph.layers import is_layer
from trunkline.graph.segments import Segment, segments_of


@dataclass(frozen=True, slots=True)
class Block:
    """A run of nodes between two branching points: one tensor in, one tensor out, at least one weight.

    Attributes:
        name: The name of its first layer; of its first node where it has none.
        nodes: The names of its nodes, in topological order.
        input: The name of the value it reads.
        output: The name of the value it hands on, the branching point.
        input_shape: Shape of the input, batch axis ``None``.
        output_shape: Shape of the output, batch axis ``None``.
        cost: Its work for one image.
    """

    name: str
    nodes: tuple[str, ...]
    input: str
    output: str
    input_shape: Shape
    output_shape: Shape
    cost: Cost


def find_blocks(graph: Graph, costs: Mapping[str, Cost] | None = None) -> list[Block]:
    """Cut ``graph`` at its branching points, as its rule says, and return the blocks in order.

    Every node that an output needs belongs to exactly one block, and each block reads the value the one
    before it hands on. A graph without weights is one block. Who knows the nodes' ``costs`` hands them on.

    >>> import trunkline
    >>> for block in find_blocks(trunkline.read("zoo:tiny"))[:3]:
    ...     print(block.name, len(block.nodes), block.output_shape)
    conv1 3 (None, 16, 32, 48)
    stage1_block1_conv1 7 (None, 16, 32, 48)
    stage1_block2_conv1 7 (None, 16, 32, 48)
    """
    costs = node_costs(graph) if costs is None else costs
    blocks = []
    incoming = graph.input
    for segment in joined_segments(segments_of(graph), branching_of(graph)):
        blocks.append(_block(segment, incoming, costs))
        incoming = segment.output
    return blocks


def _block(segment: Segment, incoming: ir.Value, costs: Mapping[str, Cost]) -> Block:
    layers = [node for node in segment.nodes if is_layer(node)]
    # Without a layer, the first node of the image's own way gives the name, not one that computes a weight.
    others = [node for node in segment.nodes if not computes_weight(node)]
    return Block(
        name=name_of((layers or others)[0]),
        nodes=tuple(name_of(node) for node in segment.nodes),
        input=name_of(incoming),
        output=name_of(segment.output),
        input_shape=shape_of(incoming),
        output_shape=shape_of(segment.output),
        cost=Cost.total(costs[name_of(node)] for node in segment.nodes),
    )
