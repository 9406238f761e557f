"""From a classifier or detector to a backbone: cut a Graph at feature maps, given by name or found.

A *map* is a value whose axes are known to be batch, channels, rows and columns (:mod:`trunkline.graph.maps`). Its
*stride* is the image's size over its own, as a power of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.maps.choice import Choice, last_map, pyramid
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.turn import turned
from trunkline.graph.owners import settle_owners
from trunkline.text import quoted, shape_text


def cut_graph(graph: Graph, names: Sequence[str]) -> Graph:
    """Return a copy of ``graph`` whose outputs are the values called ``names``, without what they do not need.

    Args:
        graph: Left as it is.
        names: Of values, or of nodes, whose first output is meant then.

    Raises:
        InvalidModel: No node writes, or is called, one of them.
    """
    copy = graph.copy()
    nodes = {name_of(node): node.outputs[0] for node in copy.nodes}
    written = {value.name: value for node in copy.nodes for value in node.outputs if value.name}
    # A value's name comes first: the two may differ, and a head reads values.
    found = {name: written.get(name) or nodes.get(name) for name in names}
    problems = [_unknown(graph, name, [*written, *nodes]) for name, value in found.items() if value is None]
    if problems:
        raise InvalidModel(problems)
    inner = copy.model.graph
    # A node's name and its output's may both be given; a Graph has no output twice.
    inner.outputs[:] = list(dict.fromkeys(value for value in found.values() if value is not None))
    needed = set(inner.outputs)
    for node in reversed(copy.nodes):
        if needed.isdisjoint(node.outputs):
            inner.remove(node, safe=True)
        else:
            needed.update(value for value in node.inputs if value is not None)
    unread = [name for name, stored in inner.initializers.items() if stored not in needed]
    for name in unread:
        del inner.initializers[name]
    settle_owners(copy.model, graph.model.metadata_props)
    return copy


def choose(graph: Graph, *, taps: bool = False) -> Choice:
    """Return the feature maps that a backbone made of ``graph`` ends at.

    Args:
        graph: A classifier, a detector, or a network that already ends in features, which is left whole.
        taps: Whether to end in the last map at each of the strides 4, 8, 16 and 32 that there are.

    Raises:
        InvalidModel: There is no feature map, or it is not known which is the last.
    """
    maps = Maps(graph)
    choice = pyramid(maps) if taps else last_map(maps)
    if not choice.maps:
        raise InvalidModel(
            f"{graph.name} has no feature map [N, C, H, W] that a task's head could read",
            advice="use `--head none` to give every task the network's own output, or name values with --features",
        )
    if choice.lost is not None:
        raise InvalidModel(lost_text(choice), place=name_of(choice.lost), advice=_LOST_ADVICE)
    return choice


def lost_text(choice: Choice) -> str:
    """Return the sentence about a layer behind the maps whose axes could not be followed."""
    assert choice.lost is not None
    value = choice.lost.outputs[0]
    return (
        f"which axes of {quoted(name_of(value))}, {shape_text(value.shape)}, are rows and columns of the image is not "
        f"known, so {quoted(name_of(choice.maps[-1].value))} may not be the last feature map"
    )


_LOST_ADVICE = "name the feature maps with --features; those of four axes are taken as [N, C, H, W]"


def finest_first(graph: Graph) -> Graph:
    """Return ``graph`` with its feature maps as ``[N, C, H, W]``, the finest first; those of one size keep their order.

    Raises:
        InvalidModel: An output is no feature map.
    """
    graph = turned(graph)
    problems = [
        Problem(
            f"the feature {quoted(name_of(value))} has shape {shape_text(value.shape)}",
            advice="name feature maps [N, C, H, W]",
        )
        for value in graph.outputs
        if len(shape_of(value)) != 4
    ]
    if problems:
        raise InvalidModel(problems)
    # Heads read the last maps as the coarsest. The sort is stable, so maps of one size keep the author's order.
    ordered = sorted(graph.outputs, key=lambda value: -_size(value))
    if ordered == graph.outputs:
        return graph
    copy = graph.copy()
    places = [graph.outputs.index(value) for value in ordered]
    copy.model.graph.outputs[:] = [copy.outputs[place] for place in places]
    return copy


def _size(value: ir.Value) -> int:
    return math.prod(size or 1 for size in shape_of(value)[2:])


def with_note(backbone: Graph, choice: Choice, *, whole: int) -> Graph:
    """Return ``backbone``, cut out of a network of ``whole`` nodes at what was chosen, with a note on the choice."""
    maps = ", ".join(_described(found) for found in choice.maps)
    dropped = whole - len(backbone.nodes)
    left = f"; the {dropped} nodes after (classifier, other outputs) are left out" if dropped else ""
    return Graph(backbone.model, (*backbone.notes, f"features taken from {maps}{left}", *choice.notes))


def _described(found: FeatureMap) -> str:
    stride = f" (stride {found.stride})" if found.stride else ""
    return quoted(name_of(found.value)) + stride


def _unknown(graph: Graph, name: str, known: Sequence[str]) -> Problem:
    advice = did_you_mean(name, known) or "`inspect` lists the nodes by name"
    return Problem(f"{graph.name} has no value or node {quoted(name)}", advice=advice)
