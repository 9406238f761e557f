"""The units a plan decides about: operators (AutoMTL) or blocks (TreeMTL).

An operator unit is a node that multiplies by weights (convolution, transposed convolution, linear layer)
together with its *tail*: the normalisation that follows it alone and is skipped with it. Weighted nodes that
are nobody's tail (a BatchNorm after a concatenation, a PReLU) *follow* the nearest unit before them: they take
its weight instance, so a shared convolution keeps a shared BatchNorm and its result stays reusable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from trunkline.graph.blocks import find_blocks, is_layer
from trunkline.graph.computed_weights import computation_of, has_parameters, image_inputs_of
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph, name_of

Granularity = Literal["operator", "block"]

_TAIL_OPS = frozenset({"BatchNormalization", "Mul", "Add"})


@dataclass(frozen=True, slots=True)
class Unit:
    """What one entry of a sharing plan governs.

    Attributes:
        name: The name of its first weighted node.
        nodes: The nodes that run when the unit runs and vanish when it is skipped, in order.
        followers: Weighted nodes elsewhere that take this unit's instance.
        input: The value it reads.
        output: The value it hands on.
        cost: The cost of ``nodes`` for one image.
        depth: Number of units on the longest path up to and including this one (AutoMTL's l, from 1).
        ancestors: Indices of all units that its result depends on.
        computing: The nodes that compute its weights, and those of its followers, from stored tensors.
    """

    name: str
    nodes: tuple[str, ...]
    followers: tuple[str, ...]
    input: str
    output: str
    cost: Cost
    depth: int
    ancestors: frozenset[int]
    computing: tuple[str, ...] = ()


def find_units(graph: Graph, granularity: Granularity = "operator") -> list[Unit]:
    """Return the units of ``graph`` in topological order."""
    return _operator_units(graph) if granularity == "operator" else _block_units(graph)


def _block_units(graph: Graph) -> list[Unit]:
    return [
        Unit(block.name, block.nodes, (), block.input, block.output, block.cost, i + 1, frozenset(range(i)))
        for i, block in enumerate(find_blocks(graph))
    ]


def _operator_units(graph: Graph) -> list[Unit]:
    costs = node_costs(graph)
    heads = [node for node in graph.nodes if is_layer(node)]
    chains = [_with_tail(node, graph) for node in heads]
    index_of = {name_of(node): i for i, chain in enumerate(chains) for node in chain}
    before, nearest = units_before(graph, index_of), _nearest(graph, index_of)
    ancestors = [before[name_of(chain[0])] for chain in chains]
    followers: list[list[str]] = [[] for _ in heads]
    for node in graph.nodes:
        name = name_of(node)
        if has_parameters(node) and name not in index_of and name in nearest:
            followers[nearest[name]].append(name)
    depths: list[int] = []
    for i in range(len(heads)):
        depths.append(1 + max((depths[j] for j in ancestors[i]), default=0))
    return [
        Unit(
            name=name_of(chain[0]),
            nodes=tuple(name_of(node) for node in chain),
            followers=tuple(followers[i]),
            input=name_of(image_inputs_of(chain[0])[0]),
            output=name_of(chain[-1].outputs[0]),
            cost=Cost.total(costs[name_of(node)] for node in chain),
            depth=depths[i],
            ancestors=ancestors[i],
            computing=_computing(graph, {*map(name_of, chain), *followers[i]}),
        )
        for i, chain in enumerate(chains)
    ]


def _with_tail(node: ir.Node, graph: Graph) -> list[ir.Node]:
    """Extend a weighted node by the normalisation that alone reads its result."""
    chain = [node]
    outputs = {id(value) for value in graph.outputs}
    while True:
        value = chain[-1].outputs[0]
        readers = value.consumers()
        if len(readers) != 1 or id(value) in outputs:
            return chain
        reader = readers[0]
        if reader.op_type not in _TAIL_OPS or not has_parameters(reader) or len(image_inputs_of(reader)) != 1:
            return chain
        chain.append(reader)


def units_before(graph: Graph, unit_of: Mapping[str, int]) -> dict[str, frozenset[int]]:
    """Return, for each node, the units that its inputs depend on.

    Args:
        graph: The backbone.
        unit_of: The unit of each node that belongs to one. A unit is not before its own nodes.
    """
    reach: dict[ir.Value, frozenset[int]] = {}
    before: dict[str, frozenset[int]] = {}
    for node in graph.nodes:
        name = name_of(node)
        seen: frozenset[int] = frozenset().union(*(reach.get(value, frozenset()) for value in image_inputs_of(node)))
        own = frozenset({unit_of[name]} if name in unit_of else ())
        before[name] = seen - own
        reach.update(dict.fromkeys(node.outputs, seen | own))
    return before


def _nearest(graph: Graph, unit_of: Mapping[str, int]) -> dict[str, int]:
    """Return, for each node, the unit that it belongs to or that is the nearest before it, if any."""
    last: dict[ir.Value, int] = {}
    nearest: dict[str, int] = {}
    for node in graph.nodes:
        found = next((last[value] for value in image_inputs_of(node) if value in last), None)
        unit = unit_of.get(name_of(node), found)
        if unit is not None:
            nearest[name_of(node)] = unit
            last.update(dict.fromkeys(node.outputs, unit))
    return nearest


def _computing(graph: Graph, readers: Collection[str]) -> tuple[str, ...]:
    found = (before for node in graph.nodes if name_of(node) in readers for before in computation_of(node))
    return tuple(dict.fromkeys(map(name_of, found)))


def unit_of_nodes(units: Sequence[Unit]) -> dict[str, int]:
    """Return the unit index of every node that belongs to or follows a unit, or computes its weights for it first."""
    last_first = list(enumerate(units))[::-1]
    return {node: i for i, unit in last_first for node in (*unit.computing, *unit.nodes, *unit.followers)}
