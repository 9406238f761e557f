"""Find the feature maps of a network where the user names none: the last one, or one for each stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from trunkline.graph.graph import name_of
from trunkline.graph.layers import is_layer
from trunkline.graph.maps.class_map import before_classifier
from trunkline.graph.maps.ends import Ends, ends_of, settled
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.given import given_maps
from trunkline.graph.maps.narrowed import before_narrowing
from trunkline.graph.maps.reach import ancestors, depths_of, reached
from trunkline.graph.maps.trunk import trunk_of
from trunkline.graph.maps.widened import before_widening
from trunkline.graph.segments import branching_points

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Choice:
    """The feature maps that a head should read.

    Attributes:
        maps: The maps, the finest first; empty where there is none.
        notes: Sentences for the user about what the file leaves open.
        lost: A node with weights behind the maps, of whose result it is not known which axis is which: they may not be
            the last ones of the network. ``None`` where there is none.
    """

    maps: tuple[FeatureMap, ...] = ()
    notes: tuple[str, ...] = ()
    lost: ir.Node | None = None


def last_map(maps: Maps) -> Choice:
    """Return the feature map that a head should read.

    1. If the network gives out several maps, it is the coarsest of them.
    2. If there is one end, it is that.
    3. Otherwise it is where a detector's branches part: of the trunk's maps at the coarsest stride up to 32, those that
       most of the ends depend on, and of them the last.
    """
    given = given_maps(maps)
    if given:  # rule 1
        return Choice(given[-1:])
    ends = ends_of(maps)
    if len(ends.maps) == 1:  # rule 2
        return _only_end(ends.maps[0], ends, maps)
    return Choice(tuple(_before_branches(maps, ends.maps)), lost=ends.lost)  # rule 3


def pyramid(maps: Maps) -> Choice:
    """Return the last map at each of the strides 4, 8, 16 and 32 on the way to the coarsest.

    1. A network that gives out several maps already keeps them.
    2. The coarsest map is the only end, or where there are several, or a decoder's, the encoder's coarsest.
    3. At each stride a branching point is preferred, because it is not inside a block; see :func:`_taps`.
    4. A network that has only one of these strides gives the next finer map too.
    """
    given = given_maps(maps)
    if given:  # rule 1
        return Choice(given)
    choice = _coarsest(maps)  # rule 2
    if not choice.maps or choice.maps[0].stride is None:
        return choice
    (last,) = choice.maps
    taps = _taps(maps, last)  # rule 3
    finer = sorted(stride for stride in taps if stride < choice.maps[0].stride)
    chosen = [stride for stride in finer if stride in STRIDES] or finer[-1:]  # rule 4
    return replace(choice, maps=(*(taps[stride] for stride in chosen), last))


def _coarsest(maps: Maps) -> Choice:
    """Return the map that a pyramid ends in."""
    ends = ends_of(maps)
    if len(ends.maps) != 1:
        return Choice(tuple(_before_branches(maps, ends.maps)), lost=ends.lost)
    only = _only_end(ends.maps[0], ends, maps)
    if _is_coarsest(only.maps[0], maps):
        return only
    # A decoder's: its result is fine again, and a pyramid needs what its encoder went down to.
    of_encoder = _before_branches(maps, ends.maps)
    return _only_end(of_encoder[0], ends, maps) if of_encoder else Choice(lost=ends.lost)


def _only_end(end: FeatureMap, ends: Ends, maps: Maps) -> Choice:
    found, note = before_classifier(end, maps)
    return Choice((found,), (note,) if note else (), ends.lost)


def _is_coarsest(last: FeatureMap, maps: Maps) -> bool:
    """Whether ``last`` is as coarse as what it is computed from, so that it is no decoder's.

    Side branches do not count: beyond stride 32, or where they hold a third of the layers at most, as the reduced keys
    of a PVT do. A decoder's encoder holds more.
    """
    if last.stride is None:
        return False
    if last.stride >= STRIDES[-1]:
        return True
    before = ancestors(last.value)
    layers = [node.outputs[0] for node in maps.graph.nodes if node.outputs[0] in before and is_layer(node)]
    coarser = [value for value in layers if value in maps and (maps[value].stride or 0) > last.stride]
    return 3 * len(coarser) <= len(layers)


def _taps(maps: Maps, last: FeatureMap) -> dict[int, FeatureMap]:
    """Return the last map at each stride that ``last`` is computed from, branching points first."""
    before = ancestors(last.value)
    points = set(branching_points(maps.graph, last.value))
    # A padded map holds what its source does, and belongs to the layer that needed it padded.
    nodes = [node for node in maps.graph.nodes if node.op_type != "Pad"]
    on_the_way = [maps[value] for node in nodes for value in node.outputs if value in before and value in maps]
    at_points = [found for found in on_the_way if name_of(found.value) in points]
    taps: dict[int, FeatureMap] = {}
    depths = depths_of(maps.graph)
    for chosen in (on_the_way, at_points):  # the second goes over the first
        # Behind as many layers, the later one; a branch that comes straight from a finer map is no end of a stage.
        ordered = sorted(chosen, key=lambda found: depths[found.value])
        taps |= {found.stride: found for found in ordered if found.stride is not None}
    for stride, found in taps.items():
        # The last map at a stride may belong to the way down to the next: then it is no end of a stage.
        taps[stride] = before_narrowing(before_widening(settled(found, maps), maps), maps)
    return taps


def _before_branches(maps: Maps, ends: Sequence[FeatureMap]) -> list[FeatureMap]:
    """Return the last map of the trunk before it branches out to ``ends``, in a list; an empty one if there is none."""
    trunk = trunk_of(maps)
    # Detectors such as SSD go on to strides of 64 and more for their largest boxes, with few layers each.
    strides = [found.stride for found in trunk if found.stride is not None and found.stride <= STRIDES[-1]]
    coarsest = max(strides, default=0)
    bits = reached(maps.graph, [end.value for end in ends])
    candidates = [found for found in trunk if found.stride == coarsest and bits.get(found.value)]
    most = max((bits[found.value].bit_count() for found in candidates), default=0)
    last = [found for found in candidates if bits[found.value].bit_count() == most][-1:]
    return [settled(found, maps) for found in last]
