"""What all layers of a prototxt share while they are translated, and the error of one that cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.ingest.prototxt.network.blob_names import BlobNames
from trunkline.ingest.prototxt.network.dialect import Dialect
from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.limits import Limits


class LayerFaultError(Exception):
    """A layer cannot be translated; the reader reports it and goes on with the layers that do not need it."""

    def __init__(self, message: str, at: Span, advice: str = "") -> None:
        super().__init__(message)
        self.message, self.at, self.advice = message, at, advice


@dataclass(frozen=True, slots=True)
class Site:
    """What all layers of a file share while it is translated.

    Attributes:
        builder: The Graph under construction.
        report: Where problems and notes go.
        names: Hands out names of values and weights.
        node_names: Hands out names of nodes, of which a layer may need several.
        dialect: The program that the file was written for.
        limits: What the file may ask for.
        size_was_given: Whether the caller gave the size of the image, so that it is not the file's.
        shared: Weights by the ``param`` name under which layers share them.
        owners: The first layer of each name that has weights.
    """

    builder: GraphBuilder
    report: FileReport
    names: BlobNames
    node_names: BlobNames
    dialect: Dialect
    limits: Limits
    size_was_given: bool = False
    shared: dict[str, ir.Value] = field(default_factory=dict)
    owners: dict[str, LayerText] = field(default_factory=dict)
