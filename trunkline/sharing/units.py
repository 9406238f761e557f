"""The units a plan decides about: operators (AutoMTL) or blocks (TreeMTL).

An operator unit is a node that multiplies by weights (convolution, transposed convolution, linear layer)
together with its *tail*: the normalisation that follows it alone and is skipped with it. Weighted nodes that
are no unit's tail (a BatchNorm after a concatenation, a PReLU) *follow* the nearest unit before them: they take
its weight instance, so a shared convolution keeps a shared BatchNorm and its result stays reusable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from trunkline.graph.blocks import find_blocks
from trunkline.graph.computed_weights import computation_of, has_parameters, image_inputs_of
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.layers import is_layer

Granularity = Literal["operator", "block"]

_TAIL_OPS = frozenset({"BatchNormalization", "Mul", "Add"})


@dataclass(frozen=True, slots=True)
class Unit:
    """What one entry of a sharing plan governs.

    Attributes:
        name: Name of its first weighted node.
        nodes: Names of the nodes that run when the unit runs and vanish when it is skipped, in order.
        followers: Names of weighted nodes elsewhere that take this unit's instance.
        input: Name of the value it reads.
        output: Name of the value it hands on.
        cost: Cost of ``nodes`` for one image.
        depth: Number of units on the longest path up to and including this one (AutoMTL's l, from 1).
        ancestors: Indices of all units that its result depends on.
        computing: Names of the nodes that compute its weights, and those of its followers, from stored tensors.
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


def find_units(
    graph: Graph, granularity: Granularity = "operator", costs: Mapping[str, Cost] | None = None
) -> list[Unit]:
    """Return the units of ``graph`` in topological order. Who knows the nodes' ``costs`` hands them on.

    >>> from trunkline.ingest.read import read
    >>> stem = find_units(read("zoo:tiny"))[0]
    >>> stem.nodes, stem.input, stem.output, stem.depth
    (('conv1', 'conv1_bn'), 'image', 'conv1_bn', 1)
    """
    costs = node_costs(graph) if costs is None else costs
    return _operator_units(graph, costs) if granularity == "operator" else _block_units(graph, costs)


def _block_units(graph: Graph, costs: Mapping[str, Cost]) -> list[Unit]:
    units: list[Unit] = []
    for index, block in enumerate(find_blocks(graph, costs)):
        units.append(
            Unit(
                name=block.name,
                nodes=block.nodes,
                followers=(),
                input=block.input,
                output=block.output,
                cost=block.cost,
                depth=index + 1,
                # Blocks are a chain: each reads what the one before hands on, so all of those are its ancestors.
                ancestors=frozenset(range(index)),
            )
        )
    return units


def _operator_units(graph: Graph, costs: Mapping[str, Cost]) -> list[Unit]:
    chains = [_with_tail(node, graph) for node in graph.nodes if is_layer(node)]
    index_of: dict[str, int] = {}
    for index, chain in enumerate(chains):
        index_of.update(dict.fromkeys(map(name_of, chain), index))
    before = units_before(graph, index_of)
    followers = _followers(graph, index_of)
    units: list[Unit] = []
    for index, chain in enumerate(chains):
        names = tuple(map(name_of, chain))
        following = tuple(followers.get(index, ()))
        ancestors = before[names[0]]
        units.append(
            Unit(
                name=names[0],
                nodes=names,
                followers=following,
                input=name_of(image_inputs_of(chain[0])[0]),
                output=name_of(chain[-1].outputs[0]),
                cost=Cost.total(costs[name] for name in names),
                # Chains are in topological order, so the depth of all ancestors is known.
                depth=1 + max((units[ancestor].depth for ancestor in ancestors), default=0),
                ancestors=ancestors,
                computing=_computing(graph, {*names, *following}),
            )
        )
    return units


def _followers(graph: Graph, unit_of: Mapping[str, int]) -> Mapping[int, list[str]]:
    """Return, by unit, the weighted nodes of no unit that the unit is the nearest before."""
    nearest = _nearest(graph, unit_of)
    found: dict[int, list[str]] = defaultdict(list)
    for node in graph.nodes:
        name = name_of(node)
        # A weighted node before all units, such as a normalisation of the image, follows none: it is the same for all.
        if has_parameters(node) and name not in unit_of and name in nearest:
            found[nearest[name]].append(name)
    return found


def _with_tail(node: ir.Node, graph: Graph) -> list[ir.Node]:
    """Extend a weighted node by the normalisation that alone reads its result."""
    chain = [node]
    outputs = {id(value) for value in graph.outputs}
    while True:
        value = chain[-1].outputs[0]
        readers = value.consumers()
        # Whoever else reads the value, a head among them, would find it gone where the unit is skipped.
        if len(readers) != 1 or id(value) in outputs or not _is_tail(readers[0]):
            return chain
        chain.append(readers[0])


def _is_tail(node: ir.Node) -> bool:
    # Mul and Add with stored vectors are what Caffe's Scale becomes. With two computed inputs they are a join.
    return node.op_type in _TAIL_OPS and has_parameters(node) and len(image_inputs_of(node)) == 1


def units_before(graph: Graph, unit_of: Mapping[str, int]) -> dict[str, frozenset[int]]:
    """Return, for each node, the units that its inputs depend on.

    Args:
        graph: The backbone.
        unit_of: Index of its unit, by name of a node that belongs to one. A unit is not before its own nodes.
    """
    reach: dict[ir.Value, frozenset[int]] = {}
    before: dict[str, frozenset[int]] = {}
    for node in graph.nodes:
        name = name_of(node)
        reached = [reach.get(value, frozenset()) for value in image_inputs_of(node)]
        seen: frozenset[int] = frozenset().union(*reached)
        own = frozenset({unit_of[name]} if name in unit_of else ())
        before[name] = seen - own
        reach.update(dict.fromkeys(node.outputs, seen | own))
    return before


def _nearest(graph: Graph, unit_of: Mapping[str, int]) -> dict[str, int]:
    """Return, for each node, the unit that it belongs to or that is the nearest before it, if any."""
    last: dict[ir.Value, int] = {}
    nearest: dict[str, int] = {}
    for node in graph.nodes:
        # Of several branches the first: after a concatenation, a BatchNorm follows the branch that ONNX lists first.
        found = next((last[value] for value in image_inputs_of(node) if value in last), None)
        unit = unit_of.get(name_of(node), found)
        if unit is not None:
            nearest[name_of(node)] = unit
            last.update(dict.fromkeys(node.outputs, unit))
    return nearest


def _computing(graph: Graph, readers: Collection[str]) -> tuple[str, ...]:
    found: list[str] = []
    for node in graph.nodes:
        if name_of(node) in readers:
            found += map(name_of, computation_of(node))
    # Two readers may share what computes their weights.
    return tuple(dict.fromkeys(found))


def unit_of_nodes(units: Sequence[Unit]) -> dict[str, int]:
    """Return, by name of a node that belongs to or follows a unit, or computes its weights, the unit's index."""
    unit_of: dict[str, int] = {}
    for index, unit in enumerate(units):
        for node in (*unit.computing, *unit.nodes, *unit.followers):
            # What computes a weight that several units read counts as the first one's.
            unit_of.setdefault(node, index)
    return unit_of
