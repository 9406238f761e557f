"""Where a network can be cut because one tensor is all there is.

A cut after node i is legal when exactly one computed value is still needed later (the *live* tensor). One
scan in topological order finds every cut in linear time.

A graph's outputs do not count as live. A backbone's early feature maps ride along: only heads read them, each task
carries its own, and a cut behind one is still a place where all that goes on is one tensor. (If they counted, a
ResNet-34 with four feature maps would have a few blocks before the first of them and one for all the rest; so it
keeps its 17.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.computed_weights import computation_of, computes_weight, image_inputs_of
from trunkline.graph.graph import Graph, data_inputs_of, name_of


@dataclass(frozen=True, slots=True)
class Segment:
    """Nodes between two cuts.

    Attributes:
        nodes: In topological order.
        output: The one value that goes on from there.
    """

    nodes: list[ir.Node]
    output: ir.Value


def segments_of(graph: Graph) -> list[Segment]:
    """Return the nodes that an output needs, split wherever they can be."""
    return _split_at_cuts(needed_nodes(graph, graph.outputs), graph.input, graph.outputs[-1])


def _split_at_cuts(nodes: list[ir.Node], image: ir.Value, last: ir.Value) -> list[Segment]:
    """Split ``nodes`` after each point where a single new value is still needed.

    1. A value that was the cut before is no new cut: what lies between is a side branch, of a feature map.
    2. The nodes that compute a weight lie in the segment of the first node that reads it. No cut lies between them.
    """
    nodes = [node for node in nodes if not computes_weight(node)]  # rule 2
    last_use = {value: index for index, node in enumerate(nodes) for value in image_inputs_of(node)}
    placed: set[ir.Node] = set()
    segments: list[Segment] = []
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
            segments.append(Segment(current, incoming))
            current = []
    if current:
        # The network's outputs are not live, so no cut was found behind its last layers.
        written = {value for node in current for value in node.outputs}
        end = last if last in written else current[-1].outputs[0]
        segments.append(Segment(current, end))
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


def branching_points(graph: Graph, last: ir.Value) -> list[str]:
    """Return the values at which a network that ends in ``last`` can be cut, in order; ``last`` is one."""
    # A node that nothing needs would keep its input live, and so hide a cut.
    nodes = needed_nodes(graph, [last])
    return [name_of(segment.output) for segment in _split_at_cuts(nodes, graph.input, last)]
