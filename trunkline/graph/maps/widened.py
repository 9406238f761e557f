"""Look behind the widened map of an inverted residual block (Sandler et al. 2018), which is no end of a stage.

Such a block widens its input by a 1x1 convolution, and a grouped one, mostly depthwise, goes down from there. What it
widens is what the stage before has made.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.axes.follow import FUNCTIONS
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.elementwise import BROADCASTING
from trunkline.graph.graph import attribute, shape_of
from trunkline.graph.layers import is_pointwise
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.walks import before, first_behind, first_readers

_NORMALISING = frozenset({"BatchNormalization"})
_PASSING = FUNCTIONS | BROADCASTING | {"BatchNormalization", "Concat", "Pad", "Reshape", "Slice", "Split", "Transpose"}
"""Operators that may come between the convolutions of a block, those of a shuffle of channels among them."""
_SQUEEZING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
"""How a gate of channels begins (Hu et al. 2018)."""


def before_widening(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that an inverted residual block reads, where ``found`` is its widened one; else ``found``."""
    if found.turn is not None or not _is_narrowed_behind_groups(found):
        return found
    makers = first_behind(found.value, lambda value: not _hands_on(value.producer()))
    sources = {source for value in makers for source in _read_by_pointwise(value)}
    if len(sources) != 1:
        return found  # a block widens one map; what several make is no widening
    source = _before_plain_depthwise(sources.pop())
    read = None if source is None else maps.get(source)
    if read is None or read.turn is not None:
        return found
    is_widened = read.channels < found.channels and read.size == found.size
    return read if is_widened else found


def _is_narrowed_behind_groups(found: FeatureMap) -> bool:
    """Whether every way from a map is a block's way down, and ends in 1x1 convolutions that narrow it.

    1. All that reads the map, behind functions and grouped convolutions of stride 1, goes down; see :func:`_goes_down`.
    2. Behind that come 1x1 convolutions to fewer channels; a ResNeXt, whose grouped convolutions are narrow, has such
       to more. Gates of channels do not count.
    3. To as many channels is enough if there is an activation between. Without one, as in HGNetV2, the way down is not
       the inside of a block.
    """
    readers = first_readers(found.value, _hands_on)
    down = [node for node in readers if _goes_down(node)]
    if not down or len(down) < len(readers):  # rule 1
        return False
    behind = [reader for node in down for reader in first_readers(node.outputs[0], _hands_on)]
    narrowing = [reader for reader in behind if reader.op_type not in _SQUEEZING]
    most = found.channels if all(map(_is_activated, down)) else found.channels - 1  # rule 3
    return bool(narrowing) and all(is_pointwise(node) and _channels(node) <= most for node in narrowing)  # rule 2


def _is_activated(node: ir.Node) -> bool:
    """Whether there is a function between ``node`` and the next convolution."""
    # It may be written out, as x · sigmoid(x): then a product reads the convolution beside the function.
    waiting, seen = list(node.outputs[0].consumers()), set[ir.Node]()
    while waiting:
        reader = waiting.pop()
        if reader.op_type in FUNCTIONS:
            return True
        if reader not in seen and reader.op_type in BROADCASTING | _NORMALISING:
            seen.add(reader)
            waiting += reader.outputs[0].consumers()
    return False


def _goes_down(node: ir.Node) -> bool:
    """Whether a node is a block's way down: a grouped convolution, or an average behind one (Zhang 2019)."""
    return _stride(node) > 1 and (_groups(node) > 1 or node.op_type == "AveragePool")


def _read_by_pointwise(value: ir.Value) -> list[ir.Value]:
    """Return what the 1x1 convolution that makes ``value`` reads; what another node makes has not been widened."""
    node = value.producer()
    if node is None or not is_pointwise(node):
        return [] if node is None else list(node.outputs)
    read = node.inputs[0]
    producer = None if read is None else read.producer()
    if producer is not None and producer.op_type == "Split":
        # A block may widen each part of a map by itself: what it reads is the whole map.
        return image_inputs_of(producer)
    return image_inputs_of(node)


def _before_plain_depthwise(value: ir.Value) -> ir.Value | None:
    """Return what a block reads that widens ``value``; ``None`` where ``value`` and its widening are one block.

    A separable block (Howard et al. 2017) widens what a depthwise convolution gives, activated, and ends there. A
    depthwise convolution that is not activated is the first layer of an inverted block (Qin et al. 2024).
    """
    source = before(value, FUNCTIONS | _NORMALISING)
    node = source.producer()
    if node is None or _groups(node) == 1:
        return value
    is_activated = before(value, _NORMALISING) is not source
    return None if is_activated else node.inputs[0]


def _hands_on(node: ir.Node | None) -> bool:
    """Whether ``node`` may be inside a block beside its 1x1 convolutions and its way down."""
    if node is None:
        return False
    return node.op_type in _PASSING or (_groups(node) > 1 and _stride(node) == 1 and not is_pointwise(node))


def _channels(node: ir.Node) -> int:
    return int(shape_of(node.outputs[0])[1] or 0)


def _groups(node: ir.Node) -> int:
    return int(attribute(node, "group", 1)) if node.op_type == "Conv" else 1


def _stride(node: ir.Node) -> int:
    return int(max(attribute(node, "strides", [1])))
