"""Which nodes everything passes through: before a node, all paths from the image; behind it, all paths to the outputs.

Both trees are made in one scan each. A node's parent is the nearest common ancestor of those it reads (Cooper, Harvey &
Kennedy 2001; a network has no circles, so one scan is enough).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of

Tree = Mapping[ir.Node, ir.Node | None]
"""For each node, the nearest other one that all paths pass; ``None`` for the image, or the outputs."""


def dominators(nodes: Sequence[ir.Node]) -> Tree:
    """Return for each of ``nodes``, in topological order, the last node that all paths from the image to it pass."""
    tree = _Nearest()
    for node in nodes:
        before = [value.producer() for value in image_inputs_of(node)]
        tree.add(node, before)
    return tree.parents


def post_dominators(nodes: Sequence[ir.Node], outputs: Iterable[ir.Value]) -> Tree:
    """Return for each of ``nodes`` the first node that all paths from it to the outputs pass."""
    ends = set(outputs)
    tree = _Nearest()
    for node in reversed(nodes):
        after: list[ir.Node | None] = []
        for value in node.outputs:
            # Readers come first in this order, so one that is not in the tree is none of `nodes`.
            after += [reader for reader in value.consumers() if reader in tree.parents]
            if value in ends:
                after.append(None)
        tree.add(node, after)
    return tree.parents


class _Nearest:
    """A tree that grows leaf by leaf. Its root is ``None``."""

    def __init__(self) -> None:
        self.parents: dict[ir.Node, ir.Node | None] = {}
        self._depth: dict[ir.Node | None, int] = {None: 0}

    def add(self, node: ir.Node, neighbours: Sequence[ir.Node | None]) -> None:
        parent = neighbours[0] if neighbours else None
        for other in neighbours[1:]:
            parent = self._common(parent, other)
        self.parents[node] = parent
        self._depth[node] = self._depth[parent] + 1

    def _common(self, a: ir.Node | None, b: ir.Node | None) -> ir.Node | None:
        """Return the nearest common ancestor: the deeper of both goes up until they meet."""
        while a is not b:
            if a is not None and self._depth[a] >= self._depth[b]:
                a = self.parents[a]
            elif b is not None:
                b = self.parents[b]
        return a
