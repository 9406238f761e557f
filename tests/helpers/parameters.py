"""Counts what trains in a Graph."""

from __future__ import annotations

from trunkline.graph.graph import Graph
from trunkline.graph.roles import is_parameter, size_of


def parameter_count(graph: Graph) -> int:
    """Return the number of trainable numbers; a weight that several nodes read counts once."""
    return sum(size_of(value) for value in graph.initializers.values() if is_parameter(value))
