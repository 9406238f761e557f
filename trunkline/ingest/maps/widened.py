"""Look behind the widened map of an inverted residual block (Sandler et al. 2018), which is no end of a stage.

Such a block widens its input by a 1x1 convolution, and a depthwise one goes down from there. What it widens is what
the stage before has made.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from trunkline.ingest.axes.follow import ARITHMETIC, FUNCTIONS
from trunkline.ingest.graph import attribute, data_inputs_of, shape_of
from trunkline.ingest.maps.feature_map import FeatureMap, Maps

_PASSING = FUNCTIONS | ARITHMETIC | {"BatchNormalization", "Concat", "Slice", "Split"}
"""What may stand between the convolutions of a block."""


def before_widening(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that an inverted residual block reads, where ``found`` is its widened one; else ``found``."""
    if found.turn is not None or not _goes_down_depthwise(found.value):
        return found
    sources = {source for node in _convolutions_behind(found.value) for source in _sources(node)}
    source = maps.get(sources.pop()) if len(sources) == 1 else None
    if source is None or source.turn is not None or source.size != found.size or source.channels >= found.channels:
        return found
    # A separable block (Howard et al. 2017) widens what a depthwise convolution gives, and ends there.
    return found if any(map(_is_depthwise, _convolutions_behind(source.value, through=False))) else source


def _goes_down_depthwise(value: ir.Value) -> bool:
    """Whether nothing but depthwise convolutions with a stride reads ``value``, activated perhaps."""
    readers = list(_readers(value))
    return bool(readers) and all(_is_depthwise(node) and max(attribute(node, "strides", [1])) > 1 for node in readers)


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    seen: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        for node in waiting.pop().consumers():
            if node in seen:
                continue
            seen.add(node)
            if node.op_type in _PASSING:
                waiting += node.outputs
            else:
                yield node


def _convolutions_behind(value: ir.Value, *, through: bool = True) -> Iterator[ir.Node]:
    """Yield the nodes that make ``value``, but for functions, and ``through`` depthwise convolutions of stride 1."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        at = waiting.pop()
        node = at.producer()
        if at in seen or node is None:
            continue
        seen.add(at)
        if node.op_type in _PASSING or (through and _is_depthwise(node) and max(attribute(node, "strides", [1])) == 1):
            waiting += data_inputs_of(node)
        else:
            yield node


def _sources(node: ir.Node) -> list[ir.Value]:
    """Return what a 1x1 convolution reads, whole; what any other node reads has not been widened."""
    if node.op_type != "Conv" or attribute(node, "kernel_shape") != [1, 1] or attribute(node, "group", 1) != 1:
        return list(node.outputs)
    read = node.inputs[0]
    producer = None if read is None else read.producer()
    return data_inputs_of(node if producer is None or producer.op_type != "Split" else producer)


def _is_depthwise(node: ir.Node) -> bool:
    read = node.inputs[0]
    groups = attribute(node, "group", 1)
    return node.op_type == "Conv" and read is not None and 1 < groups == shape_of(read)[1]
