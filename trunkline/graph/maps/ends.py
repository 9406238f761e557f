"""The *ends* of a network: the last feature maps before its outputs, found by walking back from these."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.axes.axis import SAME, is_channels, is_known, is_only
from trunkline.graph.computed_weights import has_parameters, image_inputs_of
from trunkline.graph.layers import is_layer
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.reach import ancestors


@dataclass(frozen=True, slots=True)
class Ends:
    """What a walk back from the outputs meets.

    Attributes:
        maps: The maps at which it arrives first.
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
            end = before_pooling(settled(maps[value], maps), maps)
            ends[end.value] = end
            continue
        # A fully connected layer makes no map, but its axes are known. Where they are not, it may have made one.
        if is_layer(producer) and not is_known(maps.axes[value]):
            lost = producer
        waiting += image_inputs_of(producer)[::-1]
    return Ends(list(ends.values()), lost)


def settled(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map ``[N, C, H, W]`` that ``found`` is another arrangement of, where there is one; else ``found``.

    So the channels-last output of a TensorFlow network is taken where it is still channels first.
    """
    current = found
    while current.turn is not None:
        node = current.value.producer()
        if node is None:
            return found
        read = image_inputs_of(node)
        before = maps.get(read[0]) if len(read) == 1 else None
        # Behind a node with weights it would be another map, not the same one arranged otherwise.
        if before is None or before.shape != found.shape or has_parameters(node):
            return found
        current = before
    return current


def before_pooling(end: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map before a pooling by attention; else ``end``.

    Such a pooling begins with a token that is made of the positions behind it, as CLIP's (Radford et al. 2021,
    section 2.4) and CaiT's (Touvron et al. 2021), and nothing is added to the positions themselves any more.
    """
    if end.turn is None or end.turn.part is None:
        return end
    before = ancestors(end.value)
    for node in reversed(maps.graph.nodes):
        joined = node.outputs[0]
        if joined not in before or joined not in maps:
            continue
        reads = image_inputs_of(node)
        pictures = [read for read in reads if read in maps]
        if node.op_type == "Add" and len(pictures) > 1:
            return end  # a block of a transformer goes on with the positions: its map is the end's
        tokens = [read for read in reads if read not in maps]
        is_beginning = node.op_type == "Concat" and len(pictures) == 1 and bool(tokens)
        if is_beginning and all(_is_of_image(token, maps) for token in tokens):
            return settled(maps[pictures[0]], maps)
    return end


def _is_of_image(token: ir.Value, maps: Maps) -> bool:
    """Whether the numbers of a token are made of the image's: a class token's are stored, and the same for each."""
    axes = maps.axes[token]
    return bool(axes) and is_channels(axes[-1]) and not is_only(axes[-1], SAME)
