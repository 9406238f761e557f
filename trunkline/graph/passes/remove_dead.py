"""Remove nodes that no output needs, and initializers that no node reads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class RemoveDead:
    """Leaves what the outputs are computed from. The image input stays even if nothing reads it."""

    def __call__(self, graph: ir.Graph) -> bool:
        """Remove what is dead in ``graph``."""
        nodes = [node for node in reversed(graph) if _remove(graph, node)]
        unused = [name for name, value in graph.initializers.items() if not value.uses()]
        for name in unused:
            del graph.initializers[name]
        return bool(nodes or unused)


def _remove(graph: ir.Graph, node: ir.Node) -> bool:
    if any(value.uses() or value.is_graph_output() for value in node.outputs):
        return False
    graph.remove(node, safe=True)
    return True
