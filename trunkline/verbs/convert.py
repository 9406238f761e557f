"""``convert``: any supported file to canonical ONNX or to Caffe, parity checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from trunkline.errors import InvalidConfig
from trunkline.export.exporter import ExportResult, export_model
from trunkline.export.formats.caffe_files import export_caffe
from trunkline.export.free_size.free import AtSize
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.ingest.weight_files import require_finite
from trunkline.verbs.other_size import options_at_size

CAFFE = ".prototxt"
"""Suffix of the file that a Caffe network is written to."""


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """A converted model.

    Attributes:
        export: What was written, with its parity.
        notes: What the reader repaired or dropped.
    """

    export: ExportResult
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {**self.export.to_json(), "notes": list(self.notes)}


def convert(
    model: str | Path | Graph,
    out: str | Path,
    *,
    fold: bool = False,
    reuse: bool = False,
    parity_inputs: int = 32,
    free_size: bool = False,
    options: ReadOptions = AS_THE_FILE_SAYS,
    **reading: Unpack[ReadKeywords],
) -> ConvertResult:
    """Read a model and write it as canonical ONNX, or as Caffe, that computes the same.

    Args:
        model: Prototxt, ONNX or ``zoo:NAME``, or a Graph.
        out: The file to write; one that ends in ``.prototxt`` gets a ``.caffemodel`` beside it, any other is ONNX.
        fold: Fold BatchNormalization into convolutions, and store weights that are computed.
        reuse: Compute equal things once; off, because weights that only start equal would be tied for good.
        parity_inputs: Number of seeded inputs to compare on.
        free_size: Leave the image's height and width free in the file; ONNX only.
        options: How to read the network.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The file cannot be read, or the weights do not fit; or the network allows no free size.
        InvalidConfig: Caffe was asked for a free size.
        UnsupportedOp: Caffe has no layers for some of it.
        ParityFailure: The written file computes something else.
    """
    options = options.but(reading)
    is_caffe = Path(out).suffix.lower() == CAFFE
    if is_caffe and free_size:
        raise InvalidConfig("a prototxt names its image size", place=str(out), advice="write ONNX: OUT.onnx")
    graph = read(model, options=options)
    if options.weights is not None:
        # Weights are read when they are needed, so a NaN would otherwise be found in the midst of exporting.
        require_finite(graph)
    if is_caffe:
        written, notes = export_caffe(graph, out, fold=fold, reuse=reuse, parity_inputs=parity_inputs)
        return ConvertResult(written, (*graph.notes, *notes))
    at_size = _at_size(model, options) if free_size else None
    result = export_model(graph, None, out, fold=fold, reuse=reuse, parity_inputs=parity_inputs, at_size=at_size)
    return ConvertResult(result, graph.notes)


def _at_size(model: str | Path | Graph, options: ReadOptions) -> AtSize:
    """Return what reads ``model`` for images of another height and width."""
    options_at = options_at_size(model, options)
    return lambda size: read(model, options=options_at(size))
