"""The trunk of a network: the maps that are computed from nothing coarser, so that they are no decoder's."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import shape_of
from trunkline.graph.maps.dominators import dominators, post_dominators
from trunkline.graph.maps.feature_map import FeatureMap, Maps


def trunk_of(maps: Maps) -> list[FeatureMap]:
    """Return the maps of the trunk in the order in which they are computed.

    What is coarser and lies on a detour, between a node that everything passes and the next one, does not count
    behind it: a pooled branch that gates its own source, as in SCNet, is no trunk, and what follows no decoder.
    """
    graph = maps.graph
    nodes = graph.nodes
    before, behind = dominators(nodes), post_dominators(nodes, graph.outputs)
    image = math.prod(size or 1 for size in shape_of(graph.input)[2:])
    coarsest: dict[ir.Node | None, int] = {None: image}
    trunk = []
    for node in nodes:
        start = before[node]
        ends_detour = start is not None and behind[start] is node
        # Where ways from `start` meet again in this node, what was coarser on one of them is forgotten.
        sources = [start] if ends_detour else [value.producer() for value in image_inputs_of(node)]
        least = min((coarsest[source] for source in sources), default=image)
        found = [maps[value] for value in node.outputs if value in maps and maps[value].stride is not None]
        trunk += [item for item in found if item.size <= least]
        coarsest[node] = min([least, *(item.size for item in found)])
    return trunk
