"""Fuse branches: parallel chains of equal layers become one chain on their maps side by side.

A convolution of each branch becomes one group of a grouped convolution, an activation of all branches one activation.
Maps are put side by side by a Concat where a chain begins, unless a wide convolution has made them so already
(:mod:`trunkline.export.passes.siblings`), and are cut apart by a Split where it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.export.passes.side_by_side import CHANNELS, Key, SideBySide, conv_key, owner_of
from trunkline.export.passes.value_numbering import attributes_of
from trunkline.graph.elementwise import BROADCASTING, UNARY
from trunkline.graph.graph import array_of, attribute, inputs_of, shape_of
from trunkline.graph.passes.remove_dead import RemoveDead

_POINTWISE = (UNARY | BROADCASTING) - {"Dropout"}
"""What works on maps side by side as on each alone. A Dropout that is left would draw otherwise."""


@dataclass(frozen=True, slots=True)
class FuseBranches:
    """Replaces equal nodes of parallel branches by one node, layer by layer.

    Preconditions:

    1. The nodes lie equally deep: the longest ways to them from the image have as many nodes. So none depends on
       another, and no two fusions can make a circle: whatever is read lies less deep than what reads it.
    2. They are Convs with equal settings, as many groups and filters, stored weights, and inputs of equal shape that
       are different values; or they are elementwise, with equal settings, and read all outputs of one Split in order.
    3. They belong to one part and one unit.
    4. Every shape is known, and nodes are in topological order. BatchNormalization should be folded first, and
       siblings fused: a chain ends at whatever is neither a Conv nor elementwise.

    Values keep their names, graph outputs too. Tensors that others read as well are copied.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Fuse branches in ``graph``, and return how many nodes went."""
        made, count = SideBySide(graph), 0
        for layer in _layers(graph):
            for nodes in _alike(layer):
                count += _fuse(made, nodes)
        if count:
            # A node that stands for several stood where the first of them did: before what the others read.
            graph.sort()
            RemoveDead()(graph)
        return count


def _layers(graph: ir.Graph) -> list[list[ir.Node]]:
    """Return the nodes by the longest way from the image or a stored tensor, the nearest first."""
    depth: dict[ir.Node, int] = {}
    layers: list[list[ir.Node]] = []
    for node in graph:
        before = [depth[producer] for value in inputs_of(node) if (producer := value.producer()) is not None]
        depth[node] = max(before, default=-1) + 1
        if depth[node] == len(layers):
            layers.append([])
        layers[depth[node]].append(node)
    return layers


def _alike(layer: Sequence[ir.Node]) -> list[list[ir.Node]]:
    """Return the nodes that may be one, group by group."""
    groups: dict[Key, list[ir.Node]] = {}
    for node in layer:
        key = _conv_key(node) if node.op_type == "Conv" else _pointwise_key(node)
        if key is not None:
            groups.setdefault(key, []).append(node)
    return [nodes for nodes in groups.values() if len(nodes) > 1]


def _conv_key(conv: ir.Node) -> Key | None:
    key, data, weight = conv_key(conv), conv.inputs[0], conv.inputs[1]
    if key is None or data is None or weight is None or data.is_initializer():
        return None
    # Ids name values and nodes: none is removed while groups are made.
    return (*key, shape_of(weight)[0], shape_of(data), id(_split_before(data)))


def _pointwise_key(node: ir.Node) -> Key | None:
    """Return what must be equal for elementwise nodes to be one; ``None`` where an input is cut from no wider one."""
    if node.op_type not in _POINTWISE or len(node.outputs) != 1:
        return None
    result = shape_of(node.outputs[0])
    read: list[object] = []
    for value in node.inputs:
        if value is None or (value.is_initializer() and array_of(value).size == 1):
            read.append(id(value))
            continue
        shape, split = shape_of(value), _split_before(value)
        # A map of one channel for all would have to be repeated for each branch.
        if split is None or len(shape) != len(result) or shape[CHANNELS] != result[CHANNELS]:
            return None
        read.append(id(split))
    if not _maps_of(node):
        return None
    return (node.op_type, attributes_of(node), node.outputs[0].dtype, *owner_of(node), *read)


def _split_before(value: ir.Value) -> ir.Node | None:
    """Return the Split that a map comes from, if it cuts channels."""
    node = value.producer()
    if node is None or node.op_type != "Split" or attribute(node, "axis", 0) != CHANNELS:
        return None
    return node


def _fuse(made: SideBySide, nodes: Sequence[ir.Node]) -> int:
    """Let ``nodes`` be one node if what they read lies side by side, or may be laid so; return how many went."""
    ordered = sorted(nodes, key=lambda node: _maps_of(node)[0].index() or 0)
    whole = _fused_conv(made, ordered) if ordered[0].op_type == "Conv" else _fused_pointwise(made, ordered)
    if whole is None:
        return 0
    made.split(ordered, whole)
    return len(ordered) - 1


def _fused_conv(made: SideBySide, convs: Sequence[ir.Node]) -> ir.Value | None:
    maps = [_maps_of(conv)[0] for conv in convs]
    data = _whole(maps)
    if data is None:
        # A part of what is cut apart is left alone: it would be cut, put together and cut again.
        if _split_before(maps[0]) is not None or len(set(maps)) < len(maps):
            return None
        data = made.concat(convs, maps)
    return made.conv(convs, data, attribute(convs[0], "group", 1) * len(convs))


def _fused_pointwise(made: SideBySide, nodes: Sequence[ir.Node]) -> ir.Value | None:
    inputs: list[ir.Value | None] = []
    for index, first in enumerate(nodes[0].inputs):
        is_setting = first is None or first.is_initializer()  # one for all, says their key
        found = first if is_setting else _whole([node.inputs[index] for node in nodes])
        if found is None and not is_setting:
            return None
        inputs.append(found)
    return made.same(nodes, inputs)


def _maps_of(node: ir.Node) -> list[ir.Value]:
    return [value for value in inputs_of(node) if not value.is_initializer()]


def _whole(maps: Sequence[ir.Value | None]) -> ir.Value | None:
    """Return the value that ``maps`` are cut from, if they are all of it, in order."""
    split = None if maps[0] is None else _split_before(maps[0])
    return split.inputs[0] if split is not None and list(split.outputs) == list(maps) else None
