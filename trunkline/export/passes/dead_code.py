"""Remove what no output needs: nodes nobody reads, and weights nobody reads."""

from __future__ import annotations

from trunkline.export.passes.rewrite import is_read, remove
from trunkline.graph.graph import Graph


def remove_dead_code(graph: Graph) -> int:
    """Remove unread nodes and initializers in place and return how many there were; the image input stays."""
    dead = 0
    for node in reversed(graph.nodes):
        if not any(is_read(output) for output in node.outputs):
            remove(graph, node)
            dead += 1
    unread = [name for name, value in graph.initializers.items() if not is_read(value)]
    for name in unread:
        del graph.model.graph.initializers[name]
    return dead + len(unread)
