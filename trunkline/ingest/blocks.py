"""Branching points and blocks: where a network can be cut because one tensor is all there is.

A cut after node i is legal when exactly one computed value is still needed later (the *live* tensor). One
scan in topological order finds every cut in linear time. Segments between cuts are then merged as TreeMTL
describes (Zhang et al. 2022, "branching point detector"): a segment without weights joins the one before it
(the release's direction, the default) or the one after it (the paper's), so that every block has something
to share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from trunkline.ingest.cost import Cost, node_costs
from trunkline.ingest.graph import Graph, Shape, data_inputs_of, name_of, shape_of
from trunkline.ingest.parameters import is_parameter

MATRIX_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True)
class Block:
    """A run of nodes between two branching points: one tensor in, one tensor out, at least one weight.

    Attributes:
        name: The name of its first node that has weights.
        nodes: Its node names, in topological order.
        input: The value it reads.
        output: The value it hands on, the branching point.
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


def find_blocks(graph: Graph, *, merge: Literal["previous", "next"] = "previous") -> list[Block]:
    """Cut ``graph`` at its branching points and return the blocks in order.

    Every node that an output needs belongs to exactly one block, and each block reads the value the one
    before it hands on. A graph without weights is one block.
    """
    segments = _segments(graph)
    merged = _merge_forward(segments) if merge == "next" else _merge_backward(segments)
    costs = node_costs(graph)
    blocks = []
    incoming = graph.input
    for segment in merged:
        block = _block(segment, incoming, costs)
        blocks.append(block)
        incoming = segment[-1].outputs[0]
    return blocks


def _segments(graph: Graph) -> list[list[ir.Node]]:
    """Split the live nodes after each point where a single value is still needed."""
    nodes = _live_nodes(graph)
    last_use = {id(value): index for index, node in enumerate(nodes) for value in data_inputs_of(node)}
    for value in graph.outputs:
        last_use[id(value)] = len(nodes)
    segments: list[list[ir.Node]] = [[]]
    live = {id(graph.input)}
    for index, node in enumerate(nodes):
        segments[-1].append(node)
        live.update(id(value) for value in node.outputs if last_use.get(id(value), -1) > index)
        live = {value for value in live if last_use.get(value, -1) > index}
        if len(live) == 1 and index + 1 < len(nodes):
            segments.append([])
    return segments


def _live_nodes(graph: Graph) -> list[ir.Node]:
    """Return the nodes that some output needs; what nobody reads must not hide a cut."""
    needed = {id(value) for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(id(value) in needed for value in node.outputs):
            kept.append(node)
            needed.update(id(value) for value in data_inputs_of(node))
    return kept[::-1]


def _merge_backward(segments: list[list[ir.Node]]) -> list[list[ir.Node]]:
    """Join each weight-free segment to the one before it; leading ones wait for the first with weights."""
    merged: list[list[ir.Node]] = []
    for segment in segments:
        if merged and (not _has_matrix(segment) or not _has_matrix(merged[-1])):
            merged[-1].extend(segment)
        else:
            merged.append(list(segment))
    return merged


def _merge_forward(segments: list[list[ir.Node]]) -> list[list[ir.Node]]:
    """Join each weight-free segment to the one after it; trailing ones join the last with weights."""
    merged: list[list[ir.Node]] = [[]]
    for segment in segments:
        merged[-1].extend(segment)
        if _has_matrix(merged[-1]):
            merged.append([])
    tail = merged.pop()
    if not merged:
        return [tail]
    merged[-1].extend(tail)
    return merged


def _has_matrix(segment: list[ir.Node]) -> bool:
    """Whether a segment multiplies by weights; normalisation alone is nothing worth branching for."""
    return any(node.op_type in MATRIX_OPS and any(is_parameter(value) for value in node.inputs) for node in segment)


def _block(segment: list[ir.Node], incoming: ir.Value, costs: dict[str, Cost]) -> Block:
    heavy = [node for node in segment if _has_matrix([node])]
    output = segment[-1].outputs[0]
    return Block(
        name=name_of((heavy or segment)[0]),
        nodes=tuple(name_of(node) for node in segment),
        input=name_of(incoming),
        output=name_of(output),
        input_shape=shape_of(incoming),
        output_shape=shape_of(output),
        cost=Cost.total(costs[name_of(node)] for node in segment),
    )
