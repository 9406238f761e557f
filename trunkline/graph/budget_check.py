"""Check what a whole network would take against the limits, from its shapes: no weight is drawn for it.

A small file can describe a network that no machine holds, since a prototxt has no weights and shapes are only numbers.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.cost import node_costs
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.limits import Limits, how_to_raise
from trunkline.text import quoted


def check_budget(graph: Graph, limits: Limits, place: str) -> Graph:
    """Return ``graph`` if its nodes, its weights, its image and its work for one image are within ``limits``.

    Raises:
        InvalidModel: They are not; ``place`` is the file to name.
    """
    work = {name: cost.macs for name, cost in node_costs(graph).items()}
    weights = {name: _elements(value) for name, value in graph.initializers.items()}
    bounds = [
        ("nodes", "nodes", len(work), limits.nodes, ""),
        ("total_elements", "numbers in its weights", sum(weights.values()), limits.total_elements, _largest(weights)),
        ("macs", "multiply-accumulates for one image", sum(work.values()), limits.macs, _largest(work)),
    ]
    problems = []
    for name, what, count, bound, most in bounds:
        if count > bound:
            text = f"asks for {count:,} {what}{most}; at most {bound:,} are read"
            problems.append(Problem(text, place, how_to_raise(name, count)))
    image = limits.problem(f"{place}: {name_of(graph.input)}", [size or 1 for size in shape_of(graph.input)])
    if image is not None:
        problems.append(image)
    if problems:
        raise InvalidModel(problems)
    return graph


def _elements(value: ir.Value) -> int:
    return math.prod(size or 1 for size in shape_of(value))


def _largest(counts: dict[str, int]) -> str:
    """Return the clause that names the largest: behind a large sum there is mostly one wrong number."""
    name = max(counts, key=counts.__getitem__, default="")
    return f", {counts[name]:,} of them in {quoted(name)}" if name else ""
