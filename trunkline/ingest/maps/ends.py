"""The *ends* of a network: the last feature maps before its outputs, found by walking back from these."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.ingest.axes.axis import is_known
from trunkline.ingest.graph import data_inputs_of
from trunkline.ingest.maps.feature_map import FeatureMap, Maps
from trunkline.ingest.maps.reach import descendants, has_weights
from trunkline.ingest.parameters import is_parameter


def ends_of(maps: Maps) -> list[FeatureMap]:
    """Return the maps at which a walk back from the outputs arrives first."""
    ends: dict[ir.Value, FeatureMap] = {}
    seen: set[ir.Value] = set()
    waiting = maps.graph.outputs[::-1]
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if value in seen or producer is None:
            continue
        seen.add(value)
        if value in maps:
            end = settled(maps[value], maps)
            ends[end.value] = end
        else:
            waiting += data_inputs_of(producer)[::-1]
    return list(ends.values())


def settled(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map ``[N, C, H, W]`` that ``found`` is another arrangement of, where there is one; else ``found``.

    So the channels-last output of a TensorFlow network is taken where it is still channels first.
    """
    at = found
    while at.turn is not None:
        node = at.value.producer()
        read = [] if node is None else data_inputs_of(node)
        before = maps.get(read[0]) if len(read) == 1 else None
        if node is None or before is None or before.shape != found.shape or any(map(is_parameter, node.inputs)):
            return found
        at = before
    return at


def lost_behind(end: FeatureMap, maps: Maps) -> ir.Node | None:
    """Return the first node with weights behind ``end`` of whose result it is not known which axis is which."""
    for node in descendants(end.value):
        if has_weights(node) and not is_known(maps.axes[node.outputs[0]]):
            return node
    return None
