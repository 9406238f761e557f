"""A file in half precision: as few nodes stay in float32 as parity asks for."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from trunkline.export.count import count_file
from trunkline.export.exporter import ExportResult
from trunkline.export.formats.onnx_model import EXTERNAL_BYTES, check_file, finished, write_unchecked
from trunkline.export.parity.check import ParityReport, check_parity
from trunkline.export.parity.session import require_onnxruntime
from trunkline.export.passes import not_folded
from trunkline.export.precision.emulated import of_the_file, write_emulated
from trunkline.export.precision.half import HALF, OPSETS, LowerFloat
from trunkline.export.precision.newer_opset import at_opset
from trunkline.export.provenance import PRECISION_KEY
from trunkline.export.weights import Weights
from trunkline.files.staging import staged
from trunkline.graph.graph import OPSET, Graph

MOST_ISLANDS = 64
"""A network of which more nodes are not exact enough is not one for this precision."""
_NO_METADATA: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class HalfExport:
    """A delivered file in half precision.

    Attributes:
        result: The file, with parity.
        islands: Names of the nodes that stay in float32 because they are not exact enough otherwise.
    """

    result: ExportResult
    islands: tuple[str, ...]


def export_half(
    graph: Graph,
    weights: Weights | None,
    path: str | Path,
    *,
    precision: str = "float16",
    fuse: bool = False,
    islands: Collection[str] = (),
    parity_inputs: int = 32,
    seed: int = 0,
    metadata: Mapping[str, str] = _NO_METADATA,
    external_bytes: int = EXTERNAL_BYTES,
) -> HalfExport:
    """Write ``graph`` with trained ``weights`` in half precision, and deliver it only if parity holds.

    A node that gives infinity, or is further off than the precision explains on the very numbers that it was fed, is
    put on an island in float32, and all is tried again.

    Args:
        graph: Any Graph; it is not changed.
        weights: Trained weights by ONNX name; the Graph's own where None.
        path: The file to write.
        precision: A key of :data:`trunkline.export.precision.half.HALF`.
        fuse: Put parallel convolutions side by side.
        islands: Nodes that stay in float32 from the start.
        parity_inputs: Number of seeded input batches to compare on.
        seed: Their seed.
        metadata: Added to the model's ``metadata_props``.
        external_bytes: A model with more bytes of weights keeps them in one file beside it.

    Raises:
        InvalidModel: The weights do not fit the Graph.
        ParityFailure: The outputs are further off than the precision explains; there is no file under ``path`` then.
        WorkFailed: onnxruntime is missing, the disk is full, or the result is not valid ONNX.
    """
    require_onnxruntime()
    final, apart = Path(path), set(islands)
    marked = {**metadata, PRECISION_KEY: precision}
    with staged(final) as target:
        while True:
            model = _lowered(graph, weights, marked, precision, apart, fuse=fuse)
            write_unchecked(model, target, external_bytes=external_bytes)
            check_file(target)
            parity = check_half(target, graph, weights, precision, inputs=parity_inputs, seed=seed)
            wrong = _island(parity, model, apart)
            if parity.passed or wrong is None or len(apart) == MOST_ISLANDS:
                break
            apart.add(wrong)
        parity.raise_if_failed()
        count = count_file(target)
        file_bytes = sum(file.stat().st_size for file in target.parent.iterdir())
    result = ExportResult(final, parity, count.nodes, count.parameters, count.macs, file_bytes, not_folded(model.graph))
    return HalfExport(result, tuple(node.name for node in model.graph if node.name in apart))


def check_half(
    path: Path, graph: Graph, weights: Weights | None, precision: str, *, inputs: int = 32, seed: int = 0
) -> ParityReport:
    """Compare a half-precision file with the twin it was made from, each value rounded where the file says so.

    Raises:
        ParityFailure: The file does not load.
    """
    with tempfile.TemporaryDirectory() as folder:
        emulated = Path(folder) / path.name
        write_emulated(path, emulated)
        report = check_parity(emulated, graph, weights=weights, inputs=inputs, seed=seed, precision=precision)
    return of_the_file(report)


def _lowered(
    graph: Graph,
    weights: Weights | None,
    metadata: Mapping[str, str],
    precision: str,
    apart: Collection[str],
    *,
    fuse: bool,
) -> ir.Model:
    model, opset = finished(graph, weights, fuse=fuse, metadata=metadata), OPSETS[precision]
    model = model if opset == OPSET else at_opset(model, opset)
    LowerFloat(HALF[precision], frozenset(apart), opset)(model.graph)
    return model


def _island(parity: ParityReport, model: ir.Model, apart: Collection[str]) -> str | None:
    """Return the node to put on an island next; nothing where no node is to blame that is not on one."""
    found = parity.divergence
    if found is None or found.node in apart:
        return None
    node = next((node for node in model.graph if node.name == found.node), None)
    return None if node is None or node.name in apart else node.name
