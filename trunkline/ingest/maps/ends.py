"""The *ends* of a network: the last feature maps before its outputs, found by walking back from these."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.ingest.axes.axis import is_known
from trunkline.ingest.graph import data_inputs_of
from trunkline.ingest.maps.feature_map import FeatureMap, Maps
from trunkline.ingest.maps.reach import has_weights, reads_parameters


@dataclass(frozen=True, slots=True)
class Ends:
    """What a walk back from the outputs meets.

    Attributes:
        maps: Those at which it arrives first.
        lost: A node with weights, behind these, of whose result it is not known which axis is which: the maps may
            not be the last ones of the network. ``None`` where there is none.
    """

    maps: list[FeatureMap]
    lost: ir.Node | None = None


def ends_of(maps: Maps) -> Ends:
    """Walk back from the outputs to the first maps on every way."""
    ends: dict[ir.Value, FeatureMap] = {}
    lost: ir.Node | None = None
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
            continue
        if has_weights(producer) and not is_known(maps.axes[value]):
            lost = producer
        waiting += data_inputs_of(producer)[::-1]
    return Ends(list(ends.values()), lost)


def settled(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map ``[N, C, H, W]`` that ``found`` is another arrangement of, where there is one; else ``found``.

    So the channels-last output of a TensorFlow network is taken where it is still channels first.
    """
    at = found
    while at.turn is not None:
        node = at.value.producer()
        read = [] if node is None else data_inputs_of(node)
        before = maps.get(read[0]) if len(read) == 1 else None
        if node is None or before is None or before.shape != found.shape or reads_parameters(node):
            return found
        at = before
    return at
