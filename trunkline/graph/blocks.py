"""Branching points and blocks: where a network can be cut because one tensor is all there is.

A cut after node i is legal when exactly one computed value is still needed later (the *live* tensor). One
scan in topological order finds every cut in linear time. A segment without layers then joins the one before it, as
in TreeMTL's release (Zhang et al. 2022, "branching point detector"), so that every block has something to share and a
convolution keeps its normalisation. The paper joins it to the one after it, which makes as many blocks.

A graph's outputs do not count as live. A backbone's early feature maps ride along: only heads read them, each task
carries its own, and a cut behind one is still a place where all that goes on is one tensor. (If they counted, a
ResNet-34 with four feature maps would have a few blocks before the first of them and one for all the rest; so it
keeps its 17.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.computed_weights import computation_of, computes_weight, has_parameters, image_inputs_of
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph, Shape, attribute, data_inputs_of, name_of, shape_of

MATRIX_OPS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})
"""Operators that sum products; one that reads a trainable weight is a layer."""


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
    """Cut ``graph`` at its branching points and return the blocks in order.

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
    for segment in _each_with_weights(_segments(graph)):
        blocks.append(_block(segment, incoming, costs))
        incoming = segment.output
    return blocks


def branching_points(graph: Graph, last: ir.Value) -> list[str]:
    """Return the values at which a network that ends in ``last`` can be cut, in order; ``last`` is one."""
    # A node that nothing needs would keep its input live, and so hide a cut.
    nodes = needed_nodes(graph, [last])
    return [name_of(segment.output) for segment in _split_at_cuts(nodes, graph.input, last)]


@dataclass(slots=True)
class _Segment:
    """Nodes between two cuts, and the one value that goes on from there."""

    nodes: list[ir.Node]
    output: ir.Value

    def append(self, other: _Segment) -> None:
        self.nodes += other.nodes
        self.output = other.output


def _segments(graph: Graph) -> list[_Segment]:
    return _split_at_cuts(needed_nodes(graph, graph.outputs), graph.input, graph.outputs[-1])


def _split_at_cuts(nodes: list[ir.Node], image: ir.Value, last: ir.Value) -> list[_Segment]:
    """Split ``nodes`` after each point where a single new value is still needed.

    1. A value that was the cut before is no new cut: what lies between is a side branch, of a feature map.
    2. The nodes that compute a weight lie in the segment of the first node that reads it. No cut lies between them.
    """
    nodes = [node for node in nodes if not computes_weight(node)]  # rule 2
    last_use = {value: index for index, node in enumerate(nodes) for value in image_inputs_of(node)}
    placed: set[ir.Node] = set()
    segments: list[_Segment] = []
    current: list[ir.Node] = []
    live, incoming = {image}, image
    for index, node in enumerate(nodes):
        current += [before for before in computation_of(node) if before not in placed]  # rule 2
        placed.update(current)
        current.append(node)
        live.update(node.outputs)
        live = {value for value in live if last_use.get(value, -1) > index}
        if len(live) == 1 and incoming not in live:  # rule 1
            (incoming,) = live
            segments.append(_Segment(current, incoming))
            current = []
    if current:
        # The network's outputs are not live, so no cut was found behind its last layers.
        written = {value for node in current for value in node.outputs}
        end = last if last in written else current[-1].outputs[0]
        segments.append(_Segment(current, end))
    return segments


def needed_nodes(graph: Graph, outputs: Sequence[ir.Value]) -> list[ir.Node]:
    """Return the nodes that ``outputs`` need, in topological order."""
    needed = set(outputs)
    kept = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            kept.append(node)
            needed.update(data_inputs_of(node))
    return kept[::-1]


def _each_with_weights(segments: list[_Segment]) -> list[_Segment]:
    """Join each weight-free segment to the one before it; leading ones wait for the first with weights."""
    merged: list[_Segment] = []
    for segment in segments:
        if merged and (not _has_matrix(segment.nodes) or not _has_matrix(merged[-1].nodes)):
            merged[-1].append(segment)
        else:
            merged.append(segment)
    return merged


def _has_matrix(nodes: list[ir.Node]) -> bool:
    """Whether a segment multiplies by weights; normalisation alone is nothing worth branching for."""
    return any(is_layer(node) for node in nodes)


def is_layer(node: ir.Node) -> bool:
    """Whether a node multiplies what comes of the image by weights that train."""
    return node.op_type in MATRIX_OPS and not computes_weight(node) and has_parameters(node)


def is_pointwise(node: ir.Node) -> bool:
    """Whether a node is a convolution with a 1x1 kernel, of any stride and number of groups."""
    return node.op_type == "Conv" and attribute(node, "kernel_shape") == [1, 1]


def _block(segment: _Segment, incoming: ir.Value, costs: Mapping[str, Cost]) -> Block:
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
