"""Find the feature maps of a network that nobody has named: the last one, or one for each stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from trunkline.graph.blocks import branching_points, is_layer
from trunkline.graph.graph import name_of
from trunkline.graph.maps.class_map import before_classifier
from trunkline.graph.maps.ends import Ends, ends_of, settled
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.given import given_maps
from trunkline.graph.maps.narrowed import before_narrowing
from trunkline.graph.maps.reach import ancestors, depths_of, reached
from trunkline.graph.maps.trunk import trunk_of
from trunkline.graph.maps.widened import before_widening

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Choice:
    """The feature maps that a head should read.

    Attributes:
        maps: The finest first; empty where there is none.
        notes: What the file leaves open.
        lost: A node with weights behind the maps, of whose result it is not known which axis is which: they may not be
            the last ones of the network. ``None`` where there is none.
    """

    maps: tuple[FeatureMap, ...] = ()
    notes: tuple[str, ...] = ()
    lost: ir.Node | None = None


def last_map(maps: Maps) -> Choice:
    """Return the feature map that a head should read.

    1. If the network gives out several maps, the coarsest of them. 2. If there is one end, that. 3. Else, of the
    trunk's maps at the coarsest stride up to 32, those that most of the ends depend on, and of them the last: where a
    detector's branches part.
    """
    given = given_maps(maps)
    if given:
        return Choice(given[-1:])
    ends = ends_of(maps)
    if len(ends.maps) == 1:
        return _only_end(ends.maps[0], ends, maps)
    return Choice(tuple(_parting(maps, ends.maps)), lost=ends.lost)


def pyramid(maps: Maps) -> Choice:
    """Return the last map at each of the strides 4, 8, 16 and 32 on the way to the coarsest.

    At each stride a branching point is preferred, because it is not inside a block. A network that has but one of
    these strides gives the next finer one too. One that gives out such maps already keeps them.
    """
    given = given_maps(maps)
    if given:
        return Choice(given)
    ends = ends_of(maps)
    is_single = len(ends.maps) == 1
    choice = _only_end(ends.maps[0], ends, maps) if is_single else Choice()
    if not choice.maps or not _is_coarsest(choice.maps[0], maps):
        parting = _parting(maps, ends.maps)
        choice = Choice(tuple(parting), lost=ends.lost)
        choice = _only_end(parting[0], ends, maps) if parting and is_single else choice
    bottom = choice.maps[0].stride if choice.maps else None
    if bottom is None:
        return choice
    (last,) = choice.maps
    taps = _taps(maps, last)
    finer = sorted(stride for stride in taps if stride < bottom)
    chosen = [stride for stride in finer if stride in STRIDES] or finer[-1:]
    return replace(choice, maps=(*(taps[stride] for stride in chosen), last))


def _only_end(end: FeatureMap, ends: Ends, maps: Maps) -> Choice:
    found, note = before_classifier(end, maps)
    return Choice((found,), (note,) if note else (), ends.lost)


def _is_coarsest(last: FeatureMap, maps: Maps) -> bool:
    """Whether ``last`` is as coarse as what it is computed from, so that it is no decoder's.

    Side branches do not count: beyond stride 32, or where they hold a third of the layers at most, as the reduced keys
    of a PVT do. A decoder's encoder holds more.
    """
    if last.stride is None or last.stride >= STRIDES[-1]:
        return last.stride is not None
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
    taps: dict[int, FeatureMap] = {}
    depths = depths_of(maps.graph)
    for chosen in (on_the_way, [found for found in on_the_way if name_of(found.value) in points]):
        # Behind as many layers, the later one; a branch that comes straight from a finer map is no end of a stage.
        ordered = sorted(chosen, key=lambda found: depths[found.value])
        taps |= {found.stride: found for found in ordered if found.stride is not None}
    own = {stride: settled(found, maps) for stride, found in taps.items()}
    return {stride: before_narrowing(before_widening(found, maps), maps) for stride, found in own.items()}


def _parting(maps: Maps, ends: Sequence[FeatureMap]) -> list[FeatureMap]:
    trunk = trunk_of(maps)
    bottom = max((found.stride or 0 for found in trunk if (found.stride or 0) <= STRIDES[-1]), default=0)
    bits = reached(maps.graph, [end.value for end in ends])
    candidates = [found for found in trunk if found.stride == bottom and bits.get(found.value)]
    most = max((bits[found.value].bit_count() for found in candidates), default=0)
    last = [found for found in candidates if bits[found.value].bit_count() == most][-1:]
    return [settled(found, maps) for found in last]
