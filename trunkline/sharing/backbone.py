"""A backbone, and what sharing asks of it: units, skips and fingerprint, each found once and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.fingerprint import fingerprint
from trunkline.graph.graph import Graph, Shape, name_of, shape_of
from trunkline.sharing.skip import Skip, skips_of
from trunkline.sharing.units import Granularity, Unit, find_units, unit_of_nodes
from trunkline.sharing.view import Span, span_of


@dataclass(frozen=True, slots=True)
class UnitTable:
    """The units of a backbone at one granularity.

    Attributes:
        granularity: Whether units are operators or blocks.
        units: In topological order.
        skips: What stands in for each unit, ``None`` where it cannot be skipped.
        of_node: The unit's index for every node that belongs to or follows one, or computes its weights.
    """

    granularity: Granularity
    units: tuple[Unit, ...]
    skips: tuple[Skip | None, ...]
    of_node: Mapping[str, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the units, in order."""
        return tuple(unit.name for unit in self.units)

    def number(self, unit: str) -> int:
        """Return the index of a unit given by name or number.

        Raises:
            InvalidConfig: There is none.
        """
        if unit in self.names:
            return self.names.index(unit)
        if unit in map(str, range(len(self.units))):
            return int(unit)
        plural = f"{self.granularity}s" if self.granularity == "block" else "operators"
        advice = f"{plural} are numbered 0 to {len(self.units) - 1}; `inspect` lists them"
        raise InvalidConfig(
            f"the backbone has no {self.granularity} {unit!r}", advice=did_you_mean(unit, self.names) or advice
        )


class Backbone:
    """A backbone's Graph, and the answers to what is asked of it while it is shared.

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
        self._spans: dict[str, Span | None] = {}

    @classmethod
    def of(cls, backbone: Graph | Backbone) -> Backbone:
        """Return ``backbone`` itself, or a new one of a Graph: who asks several times keeps one."""
        return backbone if isinstance(backbone, Backbone) else cls(backbone)

    @property
    def name(self) -> str:
        """Name of the Graph."""
        return self.graph.name

    @cached_property
    def fingerprint(self) -> str:
        """What tells this structure from all others."""
        return fingerprint(self.graph)

    @cached_property
    def nodes(self) -> Mapping[str, ir.Node]:
        """All nodes by name."""
        return {name_of(node): node for node in self.graph.nodes}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every value by name, the image included."""
        values = [self.graph.input, *(value for node in self.graph.nodes for value in node.outputs if value.name)]
        return {name_of(value): shape_of(value) for value in values}

    def span(self, unit: Unit) -> Span | None:
        """Return what a channel view of a block narrows, ``None`` if the block has no inner map."""
        if unit.name not in self._spans:
            self._spans[unit.name] = span_of([self.nodes[name] for name in unit.nodes], self.graph.outputs)
        return self._spans[unit.name]

    def table(self, granularity: Granularity) -> UnitTable:
        """Return the units at a granularity."""
        if granularity not in self._tables:
            units = find_units(self.graph, granularity)
            skips = skips_of(self.graph, units, granularity)
            self._tables[granularity] = UnitTable(granularity, tuple(units), tuple(skips), unit_of_nodes(units))
        return self._tables[granularity]
