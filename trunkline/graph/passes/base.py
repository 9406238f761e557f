"""What a normalising pass is: a frozen value that mends a graph in place and says whether it did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import onnx_ir as ir


class Pass(Protocol):
    """One step towards canonical form. Its fields are its options."""

    def __call__(self, graph: ir.Graph) -> bool:
        """Mend ``graph`` in place and return whether anything changed."""
        ...


def run_passes(graph: ir.Graph, passes: Iterable[Pass]) -> bool:
    """Run ``passes`` in order and return whether any of them changed the graph."""
    changed = [step(graph) for step in passes]
    return any(changed)
