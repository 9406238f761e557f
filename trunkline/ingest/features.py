"""From a classifier to a backbone: cut a Graph where its feature map ends."""

from __future__ import annotations

from trunkline.errors import InvalidModel, did_you_mean
from trunkline.ingest.graph import Graph, data_inputs_of, name_of, shape_of


def backbone_of(graph: Graph) -> Graph:
    """Return ``graph`` up to its last feature map, and note the cut if there was something to cut.

    The feature map is the last value ``[N, C, H, W]`` with H·W > 1 on the way to the first output. A network
    that already ends in one is returned as it is.

    Raises:
        InvalidModel: There is no such value.
    """
    found = _last_feature_map(graph)
    if found is None:
        raise InvalidModel(
            f"{graph.name} has no feature map [N, C, H, W] that a task's head could read",
            advice="use `--head none` to give every task the network's own output",
        )
    if found == name_of(graph.outputs[0]) and len(graph.outputs) == 1:
        return graph
    backbone = cut(graph, found)
    dropped = len(graph.nodes) - len(backbone.nodes)
    note = f"features taken from {found!r}; the {dropped} nodes after it (classifier, other outputs) are left out"
    return Graph(backbone.model, (*backbone.notes, note))


def cut(graph: Graph, value: str) -> Graph:
    """Return a copy of ``graph`` whose only output is ``value``; what it does not need is gone.

    Raises:
        InvalidModel: No node writes ``value``.
    """
    copy = graph.copy()
    written = {name_of(output): output for node in copy.nodes for output in node.outputs}
    if value not in written:
        raise InvalidModel(f"{graph.name} has no value {value!r}", advice=did_you_mean(value, written))
    inner = copy.model.graph
    inner.outputs[:] = [written[value]]
    needed = {id(written[value])}
    for node in reversed(copy.nodes):
        if any(id(output) in needed for output in node.outputs):
            needed.update(id(read) for read in node.inputs if read is not None)
        else:
            inner.remove(node, safe=True)
    for name in [name for name, stored in inner.initializers.items() if id(stored) not in needed]:
        del inner.initializers[name]
    return copy


def _last_feature_map(graph: Graph) -> str | None:
    """Walk back from the first output along first data inputs to a value with spatial extent."""
    value = graph.outputs[0]
    while True:
        shape = shape_of(value)
        if len(shape) == 4 and (shape[2] or 1) * (shape[3] or 1) > 1:
            return name_of(value) if value.producer() is not None else None
        producer = value.producer()
        if producer is None or not data_inputs_of(producer):
            return None
        value = data_inputs_of(producer)[0]
