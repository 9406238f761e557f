"""Look behind the widened map of an inverted residual block (Sandler et al. 2018), which is no end of a stage.

Such a block widens its input by a 1x1 convolution, and a grouped one, mostly depthwise, goes down from there. What it
widens is what the stage before has made.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from trunkline.graph.axes.follow import FUNCTIONS
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.elementwise import BROADCASTING
from trunkline.graph.graph import attribute, shape_of
from trunkline.graph.maps.feature_map import FeatureMap, Maps

_PASSING = FUNCTIONS | BROADCASTING | {"BatchNormalization", "Concat", "Pad", "Reshape", "Slice", "Split", "Transpose"}
"""What may stand between the convolutions of a block, a shuffle of channels among it."""
_SQUEEZING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
"""How a gate of channels begins (Hu et al. 2018)."""


def before_widening(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that an inverted residual block reads, where ``found`` is its widened one; else ``found``."""
    if found.turn is not None or not _is_narrowed_behind_groups(found):
        return found
    sources = {source for node in _makers(found.value) for source in _read_by_pointwise(node)}
    source = _before_plain_depthwise(sources.pop()) if len(sources) == 1 else None
    read = None if source is None else maps.get(source)
    if read is None or read.turn is not None or read.size != found.size or read.channels >= found.channels:
        return found
    return read


def _is_narrowed_behind_groups(found: FeatureMap) -> bool:
    """Whether all that reads a map is grouped convolutions, one with a stride, and behind that 1x1 ones to less.

    To as much, if there is an activation between: where none is, the way down is no block's, as in HGNetV2. A ResNeXt,
    whose grouped convolutions are narrow, has 1x1 ones to more behind them.
    """
    down = [node for node in _readers(found.value) if _goes_down(node)]
    if not down or len(down) < len(_readers(found.value)):
        return False
    behind = [reader for node in down for reader in _readers(node.outputs[0]) if reader.op_type not in _SQUEEZING]
    most = found.channels if all(map(_is_activated, down)) else found.channels - 1
    return bool(behind) and all(_is_pointwise(node) and _channels(node) <= most for node in behind)


def _is_activated(node: ir.Node) -> bool:
    """Whether a function stands between ``node`` and the next convolution; it may be written out in several nodes."""
    waiting, seen = list(node.outputs[0].consumers()), set[ir.Node]()
    while waiting:
        reader = waiting.pop()
        if reader.op_type in FUNCTIONS:
            return True
        if reader not in seen and reader.op_type in BROADCASTING | {"BatchNormalization"}:
            seen.add(reader)
            waiting += reader.outputs[0].consumers()
    return False


def _goes_down(node: ir.Node) -> bool:
    """Whether a node is a block's way down: a grouped convolution, or an average behind one (Zhang 2019)."""
    return _stride(node) > 1 and (_groups(node) > 1 or node.op_type == "AveragePool")


def _readers(value: ir.Value) -> list[ir.Node]:
    """Return what reads ``value``, but for functions and grouped convolutions of stride 1, which pass it on."""
    found: list[ir.Node] = []
    seen: set[ir.Node] = set()
    waiting = list(value.consumers())
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if _passes(node):
            waiting += [reader for output in node.outputs for reader in output.consumers()]
        else:
            found.append(node)
    return found


def _makers(value: ir.Value) -> Iterator[ir.Node]:
    """Yield the nodes that make ``value``, but for functions and grouped convolutions of stride 1."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        at = waiting.pop()
        node = at.producer()
        if at in seen or node is None:
            continue
        seen.add(at)
        if _passes(node):
            waiting += image_inputs_of(node)
        else:
            yield node


def _read_by_pointwise(node: ir.Node) -> list[ir.Value]:
    """Return what a 1x1 convolution reads, whole; what any other node gives has not been widened."""
    if not _is_pointwise(node):
        return list(node.outputs)
    read = node.inputs[0]
    producer = None if read is None else read.producer()
    return image_inputs_of(node if producer is None or producer.op_type != "Split" else producer)


def _before_plain_depthwise(value: ir.Value) -> ir.Value | None:
    """Return what a block reads that widens ``value``; ``None`` where ``value`` and its widening are one block.

    A separable block (Howard et al. 2017) widens what a depthwise convolution gives, activated, and ends there. A
    depthwise convolution that is not activated is the first layer of an inverted block (Qin et al. 2024).
    """
    node, activated = value.producer(), False
    while node is not None and node.op_type in FUNCTIONS | {"BatchNormalization"}:
        activated = activated or node.op_type in FUNCTIONS
        read = image_inputs_of(node)
        if len(read) != 1:
            return value  # a PRelu whose slope is computed from the image has two sources
        node = read[0].producer()
    if node is None or _groups(node) == 1:
        return value
    return None if activated else node.inputs[0]


def _passes(node: ir.Node) -> bool:
    return node.op_type in _PASSING or (_groups(node) > 1 and _stride(node) == 1 and not _is_pointwise(node))


def _is_pointwise(node: ir.Node) -> bool:
    return node.op_type == "Conv" and attribute(node, "kernel_shape") == [1, 1]


def _channels(node: ir.Node) -> int:
    return int(shape_of(node.outputs[0])[1] or 0)


def _groups(node: ir.Node) -> int:
    return int(attribute(node, "group", 1)) if node.op_type == "Conv" else 1


def _stride(node: ir.Node) -> int:
    return int(max(attribute(node, "strides", [1])))
