"""A Graph → a Caffe network, or one report of every node that Caffe has no layer for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from trunkline.errors import Problem, UnsupportedOp
from trunkline.graph.graph import Graph, name_of
from trunkline.ingest.prototxt.writer import (
    activation,
    arithmetic,
    convolution,
    normalisation,
    pad,
    pooling,
    rearrange,
    resizing,
)
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import CaffeLayer, CaffeNet
from trunkline.text import quoted

WRITERS: dict[str, Emit] = {
    **activation.WRITERS,
    **arithmetic.WRITERS,
    **convolution.WRITERS,
    **normalisation.WRITERS,
    **pad.WRITERS,
    **pooling.WRITERS,
    **rearrange.WRITERS,
    **resizing.WRITERS,
}

_SHOWN = 5


def to_caffe(graph: Graph) -> CaffeNet:
    """Return ``graph`` as a Caffe network; no weight is read.

    Raises:
        UnsupportedOp: It holds what Caffe has no layer for: all of it, by operator, with the nodes.
    """
    emitter = Emitter(graph)
    refused: dict[tuple[str, str], list[str]] = {}
    for node in graph.nodes:
        try:
            write = WRITERS.get(node.op_type)
            if write is None:
                raise InexpressibleError("Caffe has no such layer")
            write(emitter, node)
        except InexpressibleError as reason:
            refused.setdefault((node.op_type, str(reason)), []).append(name_of(node))
    if refused:
        raise UnsupportedOp([_problem(*key, nodes) for key, nodes in refused.items()])
    _finish_outputs(emitter)
    image = graph.input
    layers = tuple(_shared(emitter))
    return CaffeNet(graph.name, name_of(image), sizes(image)[1:], layers, tuple(emitter.notes))


def _problem(op: str, reason: str, nodes: list[str]) -> Problem:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    where = ", ".join(map(quoted, nodes[:_SHOWN])) + more
    return Problem(f"{op} cannot be written as Caffe: {reason}", where, "convert to ONNX instead")


def _finish_outputs(emitter: Emitter) -> None:
    """Make the Graph's outputs, and nothing else, the blobs that no layer reads: a Caffe network's outputs."""
    read = {name for layer in emitter.layers for name in layer.bottoms}
    outputs = {name_of(value) for value in emitter.graph.outputs}
    written, emitter.layers = emitter.layers, []
    for layer in written:
        emitter.layers.append(layer)
        for name in layer.tops:
            if name in outputs and name in read:
                emitter.note(f"{name} is an output that other layers read: a Split keeps it one")
                emitter.add(emitter.free_layer(f"{name}/split"), "Split", [name], [emitter.free_blob(f"{name}/output")])
            elif name not in outputs and name not in read:
                emitter.add(emitter.free_layer(f"{name}/silence"), "Silence", [name], [])


def _shared(emitter: Emitter) -> list[CaffeLayer]:
    """Name the blobs that several layers have, so that Caffe shares them too.

    A BatchNorm shares all of its statistics or none.
    """
    uses = Counter(blob.weight for layer in emitter.layers for blob in layer.blobs if blob.weight)
    layers = []
    for layer in emitter.layers:
        names = [blob.weight if uses[blob.weight] > 1 else "" for blob in layer.blobs]
        # The three blobs of a BatchNorm are one thing: statistics divided by another layer's factor would be wrong.
        if layer.type == "BatchNorm" and any(names):
            mean = layer.blobs[0].weight
            names = [mean, layer.blobs[1].weight, f"{mean}.factor"] if all(names[:2]) else []
            if not names:
                emitter.note(f"{layer.name} shared one of its statistics; it has copies of its own now")
        layers.append(replace(layer, shared=tuple(names) if any(names) else ()))
    return layers
