"""Fuse siblings: convolutions of one map become one wide convolution, whose result is cut into theirs."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.export.passes.side_by_side import Key, SideBySide, conv_key
from trunkline.graph.graph import attribute
from trunkline.graph.passes.remove_dead import RemoveDead


@dataclass(frozen=True, slots=True)
class FuseSiblings:
    """Replaces Convs that differ in weights and in the number of filters alone by one Conv and a Split.

    Preconditions:

    1. All read one value, and none has groups: a filter of a grouped Conv does not see the whole map.
    2. Kernel size, strides, padding and dilations are equal, and so are the part and unit they belong to.
    3. Weights and biases are stored, so no sibling depends on another. Where one alone has a bias, others get zeros.
    4. Every shape is known. BatchNormalization should be folded first: one that stays reads the Split.

    Values keep their names, graph outputs too. Tensors that others read as well are copied.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Fuse siblings in ``graph``, and return how many Convs went."""
        groups: dict[Key, list[ir.Node]] = {}
        for node in graph:
            key = _key(node)
            if key is not None:
                groups.setdefault(key, []).append(node)
        siblings = [convs for convs in groups.values() if len(convs) > 1]
        if not siblings:
            return 0
        made = SideBySide(graph)
        for convs in siblings:
            data = convs[0].inputs[0]
            assert data is not None
            made.split(convs, made.conv(convs, data, group=1))
        RemoveDead()(graph)
        return sum(len(convs) - 1 for convs in siblings)


def _key(node: ir.Node) -> Key | None:
    if node.op_type != "Conv" or attribute(node, "group", 1) != 1:
        return None
    key = conv_key(node)
    # Values live as long as the graph does, so their ids name them.
    return None if key is None else (id(node.inputs[0]), *key)
