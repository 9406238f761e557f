"""Take weights out of the inputs, where files up to IR version 3 had to list them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class DropInitializerInputs:
    """Leaves only inputs that the caller must give. A weight that could be overridden no longer can."""

    def __call__(self, graph: ir.Graph) -> int:
        """Drop the inputs of ``graph`` that are initializers too, and return how many there were."""
        kept = [value for value in graph.inputs if not value.is_initializer()]
        dropped = len(graph.inputs) - len(kept)
        if dropped:
            graph.inputs[:] = kept
        return dropped
