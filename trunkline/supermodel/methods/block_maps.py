"""The blocks of a backbone up to its last feature map, each with the map that counts as its own.

Of a block counts the map that it hands on, or what it pools or resizes in the end: that leads to the next stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import InvalidConfig
from trunkline.fragments.map_size import Size, map_size
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import name_of, shape_of
from trunkline.graph.layers import is_layer
from trunkline.graph.maps.feature_map import Maps
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.units import Unit
from trunkline.text import quoted, shape_text

_LEADING_ON = frozenset({"AveragePool", "MaxPool", "Resize"})


@dataclass(frozen=True, slots=True)
class BlockMap:
    """A block on the way to the last feature map, ``[N, C, h, w]``.

    Attributes:
        number: Of the block.
        layers: Its layers up to the map, in order.
        map: What counts as its map.
        gives: What it hands on.
        pooled: What it pools or resizes in the end; what it hands on where it does not.
        is_map: Whether its map is one.
    """

    number: int
    layers: tuple[ir.Node, ...]
    map: ir.Value
    gives: ir.Value
    pooled: ir.Value
    is_map: bool

    @property
    def size(self) -> Size:
        """Channels, rows and columns of its map."""
        return map_size(shape_of(self.map))

    @property
    def is_pooled(self) -> bool:
        """Whether it ends in a pooling or a resize."""
        return self.pooled is not self.gives


def block_maps(backbone: Backbone, maps: Maps) -> list[BlockMap]:
    """Return the blocks up to the one that makes the last feature map, with the maps that count as theirs.

    Raises:
        InvalidConfig: The backbone does not end in a map.
    """
    last = backbone.graph.outputs[-1]
    if len(shape_of(last)) != 4:
        text = f"the last stage ends in the last feature map [N, C, h, w], and {quoted(name_of(last))} is"
        raise InvalidConfig(f"{text} {shape_text(shape_of(last))}", advice="cut the network at a map with --features")
    found: list[BlockMap] = []
    for number, unit in enumerate(backbone.table("block").units):
        nodes = [backbone.nodes[name] for name in unit.nodes]
        written = _written(unit, backbone)
        # What comes behind, such as a decoder towards finer maps, leads to no head that reads the last one alone.
        if name_of(last) in written:
            pooled = _before_leading_on(last, nodes)
            return [*found, BlockMap(number, _layers_to(last, nodes), last, last, pooled, is_map=True)]
        given = written[unit.output]
        own = _before_leading_on(given, nodes)
        found.append(BlockMap(number, _layers_to(own, nodes), own, given, own, is_map(own, maps)))
    raise AssertionError("every node that a feature map needs is in a block")


def _written(unit: Unit, backbone: Backbone) -> dict[str, ir.Value]:
    """Return the values of a block by name."""
    nodes = (backbone.nodes[name] for name in unit.nodes)
    return {name_of(value): value for node in nodes for value in node.outputs if value.name}


def _layers_to(value: ir.Value, nodes: Sequence[ir.Node]) -> tuple[ir.Node, ...]:
    """Return the layers among ``nodes`` up to the one that makes ``value``: what is behind is not there yet."""
    end = [node is value.producer() for node in nodes].index(True)
    return tuple(node for node in nodes[: end + 1] if is_layer(node))


def _before_leading_on(value: ir.Value, nodes: Sequence[ir.Node]) -> ir.Value:
    """Return what a block pools or resizes in the end, or what it hands on where it does neither."""
    producer = value.producer()
    if producer is None or producer.op_type not in _LEADING_ON:
        return value
    (source,) = image_inputs_of(producer)
    # Where the block's layers lie on a side branch, what is pooled is the map of the block before.
    return source if source.producer() in nodes else value


def is_map(value: ir.Value, maps: Maps) -> bool:
    """Whether a value is a map with its channels first, as far as its axes are known."""
    found = maps.get(value)
    return len(shape_of(value)) == 4 and (found is None or found.turn is None)
