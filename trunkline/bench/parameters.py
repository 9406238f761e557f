"""How many trained numbers a model stores, by both rules that tables use."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import BACKBONE, PART_KEY, Graph
from trunkline.graph.roles import role_of, size_of


@dataclass(frozen=True, slots=True)
class Parameters:
    """Trained numbers, each counted as often as it is stored.

    Attributes:
        stored: All of them.
        by_paper: By the rule of the papers' tables: weights of the backbone's convolutions and linear layers, without
            biases, normalisations, skips, joins and heads (AutoMTL, Zhang et al. 2022, Table 1).
    """

    stored: int
    by_paper: int

    def __add__(self, other: Parameters) -> Parameters:
        return Parameters(self.stored + other.stored, self.by_paper + other.by_paper)

    def to_json(self) -> dict[str, int]:
        """Return plain data."""
        return {"parameters": self.stored, "paper_parameters": self.by_paper}


def parameters_of(graph: Graph) -> Parameters:
    """Count the parameters of a model by what its nodes say of themselves; without a word they are the backbone's.

    >>> from trunkline.ingest.read import read
    >>> found = parameters_of(read("zoo:tiny"))
    >>> found.stored > found.by_paper > 0.9 * found.stored
    True
    """
    by_paper = sum(size_of(value) for value in graph.initializers.values() if _counts_in_papers(value))
    return Parameters(graph_cost(graph).parameters, by_paper)


def _counts_in_papers(value: ir.Value) -> bool:
    # Biases, and all of a BatchNormalization, are vectors.
    if len(value.shape or ()) < 2 or role_of(value) != "parameter":
        return False
    return all(node.metadata_props.get(PART_KEY, BACKBONE) == BACKBONE for node, _ in value.uses())
