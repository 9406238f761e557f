"""Take weights out of the inputs, where files up to IR version 3 had to list them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class DropInitializerInputs:
    """Leaves only inputs that the caller must give. A weight that could be overridden no longer can."""

    def __call__(self, graph: ir.Graph) -> bool:
        """Drop the inputs of ``graph`` that are initializers too."""
        kept = [value for value in graph.inputs if not value.is_initializer()]
        if len(kept) == len(graph.inputs):
            return False
        graph.inputs[:] = kept
        return True
