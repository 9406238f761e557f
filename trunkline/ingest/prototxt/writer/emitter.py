"""What the writer of an operator works with: the Graph, the layers so far, and names that are free."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.prototxt.network.blob_names import BlobNames
from trunkline.ingest.prototxt.text.tree import TextField
from trunkline.ingest.prototxt.writer.net import CaffeBlob, CaffeLayer

Emit = Callable[["Emitter", ir.Node], None]


class InexpressibleError(Exception):
    """Why Caffe has no layer for a node."""


class Emitter:
    """Collects the layers of one Graph. Layers have the names of their nodes, blobs those of their values."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[CaffeLayer] = []
        self.notes: list[str] = []
        values = {name_of(value) for node in graph.nodes for value in node.outputs}
        self._blobs = BlobNames({*values, name_of(graph.input)})
        self._layers = BlobNames({*(name_of(node) for node in graph.nodes), name_of(graph.input)})

    def layer(self, node: ir.Node, kind: str, *settings: TextField, blobs: Sequence[CaffeBlob] = ()) -> None:
        """Add the one layer of ``node``, reading all its computed inputs."""
        self.add(name_of(node), kind, self.bottoms(node), self.tops(node), *settings, blobs=blobs)

    def add(
        self,
        name: str,
        kind: str,
        bottoms: Sequence[str],
        tops: Sequence[str],
        *settings: TextField,
        blobs: Sequence[CaffeBlob] = (),
    ) -> None:
        """Add a layer."""
        self.layers.append(CaffeLayer(name, kind, tuple(bottoms), tuple(tops), settings, tuple(blobs)))

    def step(self, node: ir.Node, part: str, kind: str, bottom: str, *settings: TextField) -> str:
        """Add a layer ``<node>/<part>`` that leads to the node's result, and return its blob."""
        name = f"{name_of(node)}/{part}"
        top = self.free_blob(name)
        self.add(self.free_layer(name), kind, [bottom], [top], *settings)
        return top

    def free_layer(self, name: str) -> str:
        """Return ``name``, or the nearest one that no layer has."""
        return self._layers.new(name)

    def free_blob(self, name: str) -> str:
        """Return ``name``, or the nearest one that no blob has."""
        return self._blobs.new(name)

    def note(self, text: str) -> None:
        """Add something the user should know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def bottoms(self, node: ir.Node) -> list[str]:
        """Return the blobs of all inputs that are computed."""
        return [name_of(value) for value in node.inputs if value is not None and not value.is_initializer()]

    def tops(self, node: ir.Node) -> list[str]:
        """Return the blobs that ``node`` writes."""
        return [name_of(value) for value in node.outputs]

    def data(self, node: ir.Node, index: int = 0) -> ir.Value:
        """Return an input that must be computed."""
        value = node.inputs[index]
        if value is None or value.is_initializer():
            raise InexpressibleError(f"its input {index} is stored, not computed")
        return value

    def axes(self, node: ir.Node, index: int) -> ir.Value:
        """Return an input of axes, which must be stored."""
        value = node.inputs[index]
        if value is None or not value.is_initializer():
            raise InexpressibleError("its axes are computed")
        return value

    def stored(self, node: ir.Node, index: int, what: str) -> ir.Value:
        """Return an input that must be a stored float32 tensor."""
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None or not value.is_initializer():
            raise InexpressibleError(f"its {what} is computed; Caffe needs it stored")
        if value.dtype != ir.DataType.FLOAT:
            raise InexpressibleError(f"its {what} is {value.dtype}; a caffemodel holds float32")
        return value


def blob(value: ir.Value, shape: Sequence[int] | None = None) -> CaffeBlob:
    """Return a stored tensor as a blob, in its own shape or in Caffe's."""
    assert value.const_value is not None
    return CaffeBlob(tuple(sizes(value) if shape is None else shape), value.const_value, name_of(value))


def sizes(value: ir.Value) -> tuple[int, ...]:
    """Return a shape with 0 for the free batch axis; in a Caffe Reshape, too, 0 keeps an axis as it is."""
    return tuple(size or 0 for size in shape_of(value))
