"""What a whole network asks for, counted from its shapes before a weight is drawn or a twin is built."""

from __future__ import annotations

import math

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.cost import node_costs
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.limits import Limits, how_to_raise
from trunkline.text import quoted


def check_budget(graph: Graph, limits: Limits, place: str) -> Graph:
    """Return ``graph`` if its nodes, its weights, its image and the work for one are within ``limits``.

    Raises:
        InvalidModel: They are not; ``place`` is the file to name.
    """
    work = {name: cost.macs for name, cost in node_costs(graph).items()}
    weights = {name: math.prod(size or 1 for size in shape_of(value)) for name, value in graph.initializers.items()}
    bounds = [
        ("nodes", "nodes", len(work), limits.nodes, ""),
        ("total_elements", "numbers in its weights", sum(weights.values()), limits.total_elements, _largest(weights)),
        ("macs", "multiply-accumulates for one image", sum(work.values()), limits.macs, _largest(work)),
    ]
    problems = [
        Problem(f"asks for {count:,} {what}{most}; at most {bound:,} are read", place, how_to_raise(name, count))
        for name, what, count, bound, most in bounds
        if count > bound
    ]
    image = limits.problem(f"{place}: {name_of(graph.input)}", [size or 1 for size in shape_of(graph.input)])
    if image is not None:
        problems.append(image)
    if problems:
        raise InvalidModel(problems)
    return graph


def _largest(counts: dict[str, int]) -> str:
    name = max(counts, key=counts.__getitem__, default="")
    return f", {counts[name]:,} of them in {quoted(name)}" if name else ""
