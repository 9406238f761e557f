"""What a pass is: a frozen value that rewrites a graph in place and returns how much it changed.

Ingest runs passes towards canonical form, export runs passes towards a small and quick file. Both are of this one
kind, so that an editor, a removal of dead code and a removal of identities serve both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import onnx_ir as ir


class Pass(Protocol):
    """A rewrite of a graph, as a frozen dataclass: its fields are its options, its docstring names preconditions.

    A pass finds nothing to do in what it has rewritten, unless its docstring names an exception.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Rewrite ``graph`` in place and return how many things were changed, 0 for none."""
        ...


def run_passes(graph: ir.Graph, passes: Iterable[Pass]) -> int:
    """Run ``passes`` in order and return how many things they changed together."""
    return sum([step(graph) for step in passes])
