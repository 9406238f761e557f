"""Which nodes of a block a channel view narrows, and where it cuts their weights.

A block's inner width is that of the map between two dense convolutions A → … → B, with nothing but channelwise nodes
between them: normalisation, activation, depthwise convolution. A view of k channels computes the first k of the map:
A makes only those, what stands between treats each channel by itself, and B reads only those. So k leading slices of
every stored tensor are read, and no number of the narrow map differs from the wide one's. In a ResNet's basic block the
inner map lies between its two convolutions, in an inverted residual between expansion and projection.

A block without such a map, as one convolution between two branching points, has no views.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of, is_computed_weight
from trunkline.graph.elementwise import UNARY
from trunkline.graph.graph import attribute, inputs_of, name_of, shape_of

_PER_CHANNEL = frozenset({"BatchNormalization", "PRelu"})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})

Cuts = Mapping[int, int | None]
"""The axis along which a stored input of a node is cut, by the input's position; ``None`` where it is read whole."""


@dataclass(frozen=True, slots=True)
class ViewSpan:
    """The nodes around a block's inner map.

    Attributes:
        channels: Number of the map's channels.
        cuts: What is cut of each node's stored inputs, by name of the node, in order.
        depthwise: Names of the nodes whose groups are the channels.
        behind: Names of the block's other nodes that depend on the map: they get other numbers at every width. What is
            neither here nor in ``cuts``, such as a shortcut, computes the same whatever the width.

    >>> span = ViewSpan(channels=64, cuts={"conv1": {1: 0}, "conv2": {1: 1}}, depthwise=frozenset())
    >>> span.width(0.25), span.width(0.001), span.narrowed
    (16, 1, ('conv1',))
    """

    channels: int
    cuts: Mapping[str, Cuts]
    depthwise: frozenset[str]
    behind: frozenset[str] = frozenset()

    @property
    def narrowed(self) -> tuple[str, ...]:
        """Names of the nodes whose outputs a view narrows: all but the last, whose output is whole again."""
        return tuple(self.cuts)[:-1]

    def width(self, share: float) -> int:
        """Return how many channels a view of this share of 1 has; at least one."""
        return min(self.channels, max(1, round(share * self.channels)))


def span_of(nodes: Sequence[ir.Node], outputs: Collection[ir.Value]) -> ViewSpan | None:
    """Return the nodes around the first inner map of a block, ``None`` if it has none.

    Args:
        nodes: The block's nodes in order.
        outputs: The backbone's feature maps, which heads read whole.
    """
    for index, node in enumerate(nodes):
        if not _is_dense(node) or _reads_computed(node):
            continue
        # A shortcut that comes first in the file leads to no second convolution; the main path behind it may.
        span = _span_from(node, nodes[index + 1 :], outputs)
        if span is not None:
            return replace(span, behind=_behind(nodes, span.cuts))
    return None


def _span_from(first: ir.Node, later: Sequence[ir.Node], outputs: Collection[ir.Value]) -> ViewSpan | None:
    channels = int(shape_of(first.outputs[0])[1] or 0)
    inner = {first.outputs[0]}
    # A makes only the leading channels: rows of its weight [C_out, C_in, …] and numbers of its bias [C_out].
    cuts: dict[str, Cuts] = {name_of(first): _axes(first, 0)}
    depthwise: set[str] = set()
    for node in later:
        if inner.isdisjoint(image_inputs_of(node)):
            continue  # on another branch of the block, such as a shortcut
        # A weight that is computed, as by weight standardisation, may depend on all channels of what is stored.
        if _reads_computed(node):
            return None
        if _is_dense(node):
            if not _only_read_by(inner, outputs, {*cuts, name_of(node)}):
                return None
            # B reads only the leading channels: columns of its weight. Its bias belongs to its output, which is whole.
            return ViewSpan(channels, {**cuts, name_of(node): {1: 1}}, frozenset(depthwise))
        found = _channelwise_axes(node, channels, inner)
        if found is None:
            return None
        cuts[name_of(node)] = found
        inner.update(node.outputs)
        if node.op_type == "Conv":
            depthwise.add(name_of(node))
    return None


def _behind(nodes: Sequence[ir.Node], cuts: Mapping[str, Cuts]) -> frozenset[str]:
    found: set[str] = set()
    dependent: set[ir.Value] = set()
    for node in nodes:
        name = name_of(node)
        if name not in cuts and dependent.isdisjoint(node.inputs):
            continue
        dependent.update(node.outputs)
        if name not in cuts:
            found.add(name)
    return frozenset(found)


def _channelwise_axes(node: ir.Node, channels: int, inner: set[ir.Value]) -> Cuts | None:
    """Return how a node's stored inputs are cut if it treats every channel of the map by itself, else ``None``."""
    # A second map, such as a shortcut that is added, has the whole width.
    if not inner.issuperset(image_inputs_of(node)):
        return None
    # With a channel multiplier, the k leading channels of the output would not be those of the k leading inputs.
    if node.op_type == "Conv" and attribute(node, "group", 1) == channels == shape_of(node.outputs[0])[1]:
        return _axes(node, 0)
    if node.op_type in _POOLS or node.op_type in UNARY:
        return {}
    if node.op_type in _PER_CHANNEL or node.op_type in _ARITHMETIC:
        return _channel_axes(node, channels)
    return None


def _channel_axes(node: ir.Node, channels: int) -> Cuts | None:
    """Return the channel axis of each stored input; ``None`` if one lies across the channels in another way."""
    axes: dict[int, int | None] = {}
    for position, value in enumerate(node.inputs):
        if value is None or not value.is_initializer():
            continue
        shape = shape_of(value)
        # BatchNormalization's vectors are [C]; what broadcasts over [N, C, h, w] has its channels third from the end.
        axis = 0 if node.op_type == "BatchNormalization" else len(shape) - 3
        if all(size == 1 for size in shape):
            axes[position] = None
        elif axis >= 0 and shape[axis] == channels:
            axes[position] = axis
        else:
            return None
    return axes


def _axes(node: ir.Node, axis: int) -> Cuts:
    """Return the same axis for all stored inputs of a node."""
    stored = [position for position, value in enumerate(node.inputs) if _is_stored(value)]
    return dict.fromkeys(stored, axis)


def _is_dense(node: ir.Node) -> bool:
    """Whether every output channel of a node is made from every input channel, by a stored weight."""
    return node.op_type == "Conv" and attribute(node, "group", 1) == 1 and _is_stored(node.inputs[1])


def _is_stored(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _reads_computed(node: ir.Node) -> bool:
    return any(is_computed_weight(value) for value in inputs_of(node))


def _only_read_by(inner: set[ir.Value], outputs: Collection[ir.Value], names: Collection[str]) -> bool:
    """Whether nothing but these nodes reads the inner map: a head or a branch would see it narrowed."""
    readers = {name_of(reader) for value in inner for reader in value.consumers()}
    return inner.isdisjoint(outputs) and readers <= set(names)
