"""From a classifier or detector to a backbone: cut a Graph at feature maps, given by name or found.

A *map* is a value ``[N, C, H, W]`` with H·W > 1. Its *stride* is the image's size over its own, as a power of two.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.ingest.graph import Graph, name_of, shape_of
from trunkline.ingest.maps import is_map, size_of_map, stride_of
from trunkline.ingest.owners import settle_owners
from trunkline.ingest.trunk import last_map, pyramid


def cut(graph: Graph, names: Sequence[str]) -> Graph:
    """Return a copy of ``graph`` whose outputs are the values called ``names``; what they do not need is gone.

    Args:
        graph: Left as it is.
        names: Of values, or of nodes, whose first output is meant then.

    Raises:
        InvalidModel: No node writes, or is called, one of them.
    """
    copy = graph.copy()
    nodes = {name_of(node): node.outputs[0] for node in copy.nodes}
    written = {value.name: value for node in copy.nodes for value in node.outputs if value.name}
    found = {name: written.get(name) or nodes.get(name) for name in names}
    problems = [_unknown(graph, name, [*written, *nodes]) for name, value in found.items() if value is None]
    if problems:
        raise InvalidModel(problems)
    inner = copy.model.graph
    inner.outputs[:] = list(dict.fromkeys(value for value in found.values() if value is not None))
    needed = set(inner.outputs)
    for node in reversed(copy.nodes):
        if needed.isdisjoint(node.outputs):
            inner.remove(node, safe=True)
        else:
            needed.update(value for value in node.inputs if value is not None)
    for name in [name for name, stored in inner.initializers.items() if stored not in needed]:
        del inner.initializers[name]
    settle_owners(copy.model, graph.model.metadata_props)
    return copy


def choose_features(graph: Graph, *, taps: bool = False) -> list[str]:
    """Return the names of the values that a backbone made of ``graph`` ends at, the finest first.

    Args:
        graph: A classifier, a detector, or a network that already ends in features, which is left whole.
        taps: Whether to end in the last map at each of the strides 4, 8, 16 and 32 that there are.

    Raises:
        InvalidModel: There is no feature map.
    """
    found = pyramid(graph) if taps else last_map(graph)
    if not found:
        raise InvalidModel(
            f"{graph.name} has no feature map [N, C, H, W] that a task's head could read",
            advice="use `--head none` to give every task the network's own output, or name values with --features",
        )
    return [name_of(value) for value in found]


def finest_first(graph: Graph) -> Graph:
    """Return ``graph`` with its feature maps from the finest to the coarsest; those of one size keep their order.

    Raises:
        InvalidModel: An output is no feature map.
    """
    problems = [
        Problem(f"the feature {name_of(value)!r} has shape {value.shape}", advice="name feature maps [N, C, H, W]")
        for value in graph.outputs
        if len(shape_of(value)) != 4
    ]
    if problems:
        raise InvalidModel(problems)
    ordered = sorted(graph.outputs, key=lambda value: -size_of_map(value))
    if ordered == graph.outputs:
        return graph
    copy = graph.copy()
    places = [graph.outputs.index(value) for value in ordered]
    copy.model.graph.outputs[:] = [copy.outputs[place] for place in places]
    return copy


def with_note(backbone: Graph, *, whole: int) -> Graph:
    """Return ``backbone``, cut out of a network of ``whole`` nodes, with a note that says at what."""
    maps = ", ".join(_described(value, backbone) for value in backbone.outputs)
    dropped = whole - len(backbone.nodes)
    left = f"; the {dropped} nodes after (classifier, other outputs) are left out" if dropped else ""
    return Graph(backbone.model, (*backbone.notes, f"features taken from {maps}{left}"))


def _described(value: ir.Value, graph: Graph) -> str:
    stride = stride_of(value, graph) if is_map(value) else None
    return f"{value.name!r}" + (f" (stride {stride})" if stride else "")


def _unknown(graph: Graph, name: str, known: Sequence[str]) -> Problem:
    advice = did_you_mean(name, known) or "`inspect` lists the nodes by name"
    return Problem(f"{graph.name} has no value or node {name!r}", advice=advice)
