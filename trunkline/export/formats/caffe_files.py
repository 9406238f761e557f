"""Export as Caffe: a deploy prototxt with its caffemodel beside it, read back and compared before delivery."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from trunkline.errors import ParityFailure, Problem
from trunkline.export.exporter import ExportResult
from trunkline.export.formats.onnx_model import finished, write_unchecked
from trunkline.export.parity.check import ParityReport, check_parity
from trunkline.export.parity.session import require_onnxruntime
from trunkline.export.passes import FoldConstants, not_folded, optimise
from trunkline.files.staging import staged
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import Graph, array_of, name_of
from trunkline.ingest.caffemodel.targets import FACTOR, Targets, order_of
from trunkline.ingest.caffemodel.write import write_caffemodel
from trunkline.ingest.prototxt.writer import CaffeNet, to_caffe
from trunkline.ingest.read import read
from trunkline.text import quoted

SUFFIX = ".caffemodel"


def export_caffe(
    graph: Graph, path: str | Path, *, fold: bool = False, reuse: bool = False, parity_inputs: int = 32, seed: int = 0
) -> tuple[ExportResult, tuple[str, ...]]:
    """Write ``graph`` as ``path`` and a caffemodel of the same stem, and deliver them only if they hold the same.

    Both are read back: every weight must be the same to the last bit, and the network must compute the same.

    Args:
        graph: Any Graph; it is not changed.
        path: The prototxt to write; existing files are replaced.
        fold: Fold BatchNormalization into convolutions.
        reuse: Merge equal weights and nodes.
        parity_inputs: Number of seeded input batches to compare on.
        seed: Their seed.

    Returns:
        What was written, and notes on what Caffe keeps differently.

    Raises:
        UnsupportedOp: It holds what Caffe has no layer for; all of it is listed.
        ParityFailure: What was written is not the network; there are no files then.
        WorkFailed: onnxruntime is missing, or the disk is full.
    """
    require_onnxruntime()
    final = Path(path)
    source = optimise(graph, fold=fold, reuse=reuse) if fold or reuse else graph
    computed = [name_of(node) for node in source.nodes if computes_weight(node)]
    # Caffe's layers read blobs and compute none.
    if computed:
        source = source.copy()
        FoldConstants()(source.model.graph)
    net = to_caffe(source)
    with staged(final) as target:
        weights = target.with_suffix(SUFFIX)
        target.write_text(net.text(), encoding="utf-8")
        with weights.open("wb") as file:
            write_caffemodel(net, file)
            os.fsync(file.fileno())
        # Judged by what a reader makes of the files, not by what was meant to be written.
        back = read(target, weights=weights)
        _compare_weights(net, source, back)
        parity = _parity(back, source, parity_inputs, seed)
        parity.raise_if_failed()
        cost = graph_cost(back)
        file_bytes = target.stat().st_size + weights.stat().st_size
    left = not_folded(source.model.graph) if fold else ()
    result = ExportResult(final, parity, len(net.layers), cost.parameters, cost.macs, file_bytes, left)
    notes = list(net.notes)
    if computed:
        notes.append(f"weights that {len(computed)} nodes compute are written as what they come to")
    return result, tuple(notes)


def _compare_weights(net: CaffeNet, source: Graph, back: Graph) -> None:
    """Raise unless every weight came back with the same bits."""
    targets = Targets(back, (layer.name for layer in net.layers if layer.blobs))
    problems = []
    for layer in net.layers:
        roles = targets.of(layer.name)
        # An absorbed Scale layer; the layer that it shares its blobs with is compared.
        if not roles and layer.shared and all(layer.shared):
            continue
        order = order_of(roles, len(layer.blobs)) or ()
        for role, blob in zip(order, layer.blobs, strict=bool(order)):
            if role == FACTOR:
                continue
            kept, given = array_of(roles[role]), array_of(source.initializers[blob.weight])
            # Compared as integers: a NaN equals itself then, and 0.0 does not equal -0.0.
            if not np.array_equal(kept.ravel().view(np.uint32), given.ravel().view(np.uint32)):
                problems.append(Problem(f"weight {quoted(blob.weight)} came back with other bits", layer.name))
        if not order and layer.blobs:
            problems.append(Problem(f"the blobs of layer {quoted(layer.name)} came back elsewhere"))
    if problems:
        raise ParityFailure(problems)


def _parity(back: Graph, source: Graph, inputs: int, seed: int) -> ParityReport:
    """Compare what the files say, as onnxruntime runs it, with the twin of the Graph they were made from."""
    with tempfile.TemporaryDirectory(prefix="trunkline-") as folder:
        model = Path(folder) / "back.onnx"
        write_unchecked(finished(back, None, fold=False, reuse=False), model)
        return check_parity(model, source, inputs=inputs, seed=seed)
