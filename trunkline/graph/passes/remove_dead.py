"""Remove what no output needs: nodes that nothing reads, and initializers that nothing reads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.passes.editor import is_read


@dataclass(frozen=True, slots=True)
class RemoveDead:
    """Leaves what the outputs are computed from. The image input stays even if nothing reads it.

    Nodes must be in topological order.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Remove what is dead in ``graph``, and return how many nodes and initializers went."""
        count = 0
        # Backwards, a node's readers have gone before it is looked at.
        for node in reversed(graph):
            if not any(map(is_read, node.outputs)):
                graph.remove(node, safe=True)
                count += 1
        unread = [name for name, value in graph.initializers.items() if not is_read(value)]
        for name in unread:
            del graph.initializers[name]
        return count + len(unread)
