"""Find the feature maps of a network that nobody has named: the last one, or one for each stride.

The *ends* of a network are the last maps before its outputs: one before a classifier, several in a detector. A map
is on the *trunk* if nothing before it was coarser, so that it is no decoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.ingest.blocks import MATRIX_OPS, branching_points
from trunkline.ingest.graph import Graph, attribute, data_inputs_of, name_of
from trunkline.ingest.maps import is_map, size_of_map, stride_of
from trunkline.ingest.parameters import is_parameter

STRIDES = (4, 8, 16, 32)
_ACTIVATIONS = frozenset({"Clip", "LeakyRelu", "PRelu", "Relu"})


def last_map(graph: Graph) -> list[ir.Value]:
    """Return the feature map that a head should read; empty where there is none.

    1. If there is one end, that. 2. Else, of the trunk's maps at the coarsest stride up to 32, those that most of
    the ends depend on, and of them the last: where a detector's branches part.
    """
    ends = _ends(graph)
    return ends if len(ends) <= 1 else _parting(graph, ends)


def pyramid(graph: Graph) -> list[ir.Value]:
    """Return the trunk's last map at each of the strides 4, 8, 16 and 32 that there are, the finest first.

    At each stride a branching point is preferred, because it is not inside a block. A network that has but one of
    these strides gives the next finer one too. One that ends in such maps already keeps them.
    """
    trunk = _trunk(graph)
    ends = _ends(graph)
    on_trunk = {found.value for found in trunk}
    if len(ends) > 1 and set(ends) == set(graph.outputs) <= on_trunk and len(set(map(size_of_map, ends))) == len(ends):
        return sorted(ends, key=lambda value: -size_of_map(value))
    last = ends if len(ends) == 1 and ends[0] in on_trunk else _parting(graph, ends)
    if not last:
        return last
    before = _ancestors(last[0])
    points = set(branching_points(graph, last[0]))
    taps: dict[int, ir.Value] = {}
    for point in (False, True):
        for found in trunk:
            if found.value in before and (not point or name_of(found.value) in points):
                taps[found.stride] = found.value
    bottom = next(found.stride for found in trunk if found.value is last[0])
    finer = sorted(stride for stride in taps if stride < bottom)
    chosen = [stride for stride in finer if stride in STRIDES] or finer[-1:]
    return [*(taps[stride] for stride in chosen), last[0]]


@dataclass(frozen=True, slots=True)
class _Trunk:
    value: ir.Value
    stride: int


def _ends(graph: Graph) -> list[ir.Value]:
    """Return the maps at which a walk back from the outputs arrives first."""
    ends: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    waiting = graph.outputs[::-1]
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if value in seen or producer is None:
            continue
        seen.add(value)
        if is_map(value):
            ends[value] = None
        else:
            waiting += data_inputs_of(producer)[::-1]
    return [_before_classifier(next(iter(ends)))] if len(ends) == 1 else list(ends)


def _before_classifier(end: ir.Value) -> ir.Value:
    """Return the map that a classifier made of a 1x1 convolution reads, where ``end`` is that one's; else ``end``.

    Such a classifier stands before the pooling, as in Network in Network and SqueezeNet. It is told by a Dropout
    before it or a softmax after it; without these, and with weights after it, it is a layer like any other.
    """
    node, after = end.producer(), _descendants(end)
    while node is not None and node.op_type in _ACTIVATIONS:
        first = node.inputs[0]
        node = None if first is None else first.producer()
    if node is None or node.op_type != "Conv" or attribute(node, "kernel_shape") != [1, 1] or end.is_graph_output():
        return end
    source = node.inputs[0]
    before = None if source is None else source.producer()
    dropped = before is not None and before.op_type == "Dropout"
    if any(map(_has_weights, after)) or not (dropped or any("Softmax" in item.op_type for item in after)):
        return end
    source = before.inputs[0] if before is not None and dropped else source
    return source if source is not None and is_map(source) else end


def _descendants(value: ir.Value) -> list[ir.Node]:
    """Return the nodes that depend on ``value``."""
    found: dict[ir.Node, None] = {}
    waiting = [value]
    while waiting:
        readers = [node for node in waiting.pop().consumers() if node not in found]
        found.update(dict.fromkeys(readers))
        waiting += [output for node in readers for output in node.outputs]
    return list(found)


def _has_weights(node: ir.Node) -> bool:
    return node.op_type in MATRIX_OPS and any(map(is_parameter, node.inputs))


def _trunk(graph: Graph) -> list[_Trunk]:
    """Return the maps of the trunk in the order in which they are computed."""
    coarsest: dict[ir.Value, int] = {graph.input: size_of_map(graph.input)}
    trunk = []
    for node in graph.nodes:
        before = min((coarsest[value] for value in data_inputs_of(node) if value in coarsest), default=0)
        for value in node.outputs:
            coarsest[value] = before
            stride = stride_of(value, graph) if is_map(value) else None
            if stride is not None:
                coarsest[value] = min(before, size_of_map(value))
                if size_of_map(value) <= before:
                    trunk.append(_Trunk(value, stride))
    return trunk


def _parting(graph: Graph, ends: Sequence[ir.Value]) -> list[ir.Value]:
    trunk = _trunk(graph)
    bottom = max((found.stride for found in trunk if found.stride <= STRIDES[-1]), default=0)
    reached = _reached(graph, ends)
    candidates = [found.value for found in trunk if found.stride == bottom and reached.get(found.value)]
    most = max((reached[value].bit_count() for value in candidates), default=0)
    return [value for value in candidates if reached[value].bit_count() == most][-1:]


def _reached(graph: Graph, ends: Sequence[ir.Value]) -> dict[ir.Value, int]:
    """Return for each value the ends that depend on it, as bits."""
    reached = {value: 1 << index for index, value in enumerate(ends)}
    for node in reversed(graph.nodes):
        bits = 0
        for value in node.outputs:
            bits |= reached.get(value, 0)
        for value in data_inputs_of(node):
            reached[value] = reached.get(value, 0) | bits
    return reached


def _ancestors(value: ir.Value) -> set[ir.Value]:
    """Return ``value`` and all it is computed from."""
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if item not in seen:
            seen.add(item)
            producer = item.producer()
            waiting += [] if producer is None else data_inputs_of(producer)
    return seen
