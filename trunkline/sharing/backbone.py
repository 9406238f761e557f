"""A backbone, and what sharing asks of it: units, skips, costs and fingerprint, each found once and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.fingerprint import fingerprint
from trunkline.graph.graph import Graph, Shape, name_of, shapes_of
from trunkline.graph.segments import needed_nodes
from trunkline.sharing.skip import Skip, skips_of
from trunkline.sharing.units import Granularity, Unit, find_units, unit_of_nodes
from trunkline.sharing.view import ViewSpan, span_of
from trunkline.text import quoted


@dataclass(frozen=True, slots=True)
class UnitTable:
    """The units of a backbone at one granularity.

    Attributes:
        granularity: ``operator`` or ``block``.
        units: The units in topological order.
        skips: What stands in for each unit, ``None`` where it cannot be skipped.
        of_node: Index of its unit, by name of a node that belongs to or follows one, or computes its weights.

    >>> from trunkline.ingest.read import read
    >>> table = Backbone(read("zoo:tiny")).table("operator")
    >>> table.names[0], table.number("conv1"), table.units[0].output
    ('conv1', 0, 'conv1_bn')
    """

    granularity: Granularity
    units: tuple[Unit, ...]
    skips: tuple[Skip | None, ...]
    of_node: Mapping[str, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the units, in topological order."""
        return tuple(unit.name for unit in self.units)

    def number(self, unit: str) -> int:
        """Return the index of a unit given by name or number.

        Raises:
            InvalidConfig: There is no such unit.
        """
        # Names come first: a layer may itself be called "3", as those of torch's Sequential are.
        if unit in self.names:
            return self.names.index(unit)
        if unit in map(str, range(len(self.units))):
            return int(unit)
        range_text = f"{self.granularity}s are numbered 0 to {len(self.units) - 1}; `inspect` lists them"
        advice = did_you_mean(unit, self.names) or range_text
        raise InvalidConfig(f"the backbone has no {self.granularity} {quoted(unit)}", advice=advice)


class Backbone:
    """A backbone's Graph, and what is worked out about it while it is shared.

    Args:
        graph: Not changed afterwards; its outputs are the feature maps that heads read, the last one last.

    >>> from trunkline.ingest.read import read
    >>> backbone = Backbone(read("zoo:tiny"))
    >>> backbone.table("block").names[:2]
    ('conv1', 'stage1_block1_conv1')
    >>> backbone.table("block") is backbone.table("block")
    True
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._tables: dict[Granularity, UnitTable] = {}
        self._spans: dict[tuple[str, ...], ViewSpan | None] = {}

    @classmethod
    def of(cls, backbone: Graph | Backbone) -> Backbone:
        """Return ``backbone`` itself, or a new one of a Graph. Keep it, so that nothing is found twice."""
        return backbone if isinstance(backbone, Backbone) else cls(backbone)

    @property
    def name(self) -> str:
        """Name of the Graph."""
        return self.graph.name

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the Graph's structure: operators, attributes, wiring and weight shapes."""
        return fingerprint(self.graph)

    @cached_property
    def nodes(self) -> Mapping[str, ir.Node]:
        """All nodes by name."""
        return {name_of(node): node for node in self.graph.nodes}

    @cached_property
    def values(self) -> Mapping[str, ir.Value]:
        """All computed values by name."""
        return {name_of(value): value for node in self.graph.nodes for value in node.outputs if value.name}

    @cached_property
    def needed(self) -> tuple[ir.Node, ...]:
        """The nodes that a feature map needs, in topological order: no task runs any other."""
        return tuple(needed_nodes(self.graph, self.graph.outputs))

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every value by name, in the order in which they are computed, the image first."""
        return shapes_of(self.graph)

    @cached_property
    def costs(self) -> Mapping[str, Cost]:
        """Cost of every node by name, for one image."""
        return node_costs(self.graph)

    def span(self, unit: Unit) -> ViewSpan | None:
        """Return what a channel view of a block narrows, ``None`` if the block has no inner map."""
        # By its nodes, because an operator and the block that it begins have one name. And not by `get`: None is an
        # answer too, so a block without an inner map would be searched again.
        if unit.nodes not in self._spans:
            self._spans[unit.nodes] = span_of([self.nodes[name] for name in unit.nodes], self.graph.outputs)
        return self._spans[unit.nodes]

    def table(self, granularity: Granularity) -> UnitTable:
        """Return the units at a granularity, and what stands in for each where it is skipped."""
        if granularity not in self._tables:
            units = find_units(self.graph, granularity, self.costs)
            skips = skips_of(self.graph, units, granularity)
            self._tables[granularity] = UnitTable(granularity, tuple(units), tuple(skips), unit_of_nodes(units))
        return self._tables[granularity]
