"""Export: write, prove, publish, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trunkline.errors import ParityFailure, Problem
from trunkline.export.count import count_file
from trunkline.export.formats.onnx_model import EXTERNAL_BYTES, check_file, finished, write_unchecked
from trunkline.export.free_size.free import AtSize, Freed, FreeSize, freed
from trunkline.export.free_size.sizes import Size, size_of, text_of
from trunkline.export.fusion import Fusion
from trunkline.export.parity.check import ParityReport, check_parity
from trunkline.export.parity.session import require_onnxruntime
from trunkline.export.passes import NotFolded, not_folded
from trunkline.export.weights import Weights
from trunkline.files.staging import staged
from trunkline.graph.graph import Graph

_NO_METADATA: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A delivered model.

    Attributes:
        path: The ONNX file.
        parity: The proof that it computes what the trained twin computes.
        nodes: Number of nodes in the file.
        parameters: Number of distinct trained numbers in the file, BatchNormalization folded or not.
        macs: Multiply-accumulates the file executes for one image.
        file_bytes: Size on disk, with external data.
        not_folded: With folding: the BatchNormalizations that are left, each with the reason.
        fusion: What was decided about horizontal fusion, where that was asked.
        free_size: Which sizes its images may have, where that is not one.
        other_sizes: The same proof for other image sizes.
    """

    path: Path
    parity: ParityReport
    nodes: int
    parameters: int
    macs: int
    file_bytes: int
    not_folded: tuple[NotFolded, ...] = ()
    fusion: Fusion | None = None
    free_size: FreeSize | None = None
    other_sizes: Mapping[Size, ParityReport] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "path": str(self.path),
            "nodes": self.nodes,
            "parameters": self.parameters,
            "macs": self.macs,
            "file_bytes": self.file_bytes,
            "parity": self.parity.to_json(),
            "not_folded": [left.to_json() for left in self.not_folded],
            **({} if self.fusion is None else {"fusion": self.fusion.to_json()}),
            "free_size": self._free_size_json(),
        }

    def _free_size_json(self) -> dict[str, Any] | None:
        if self.free_size is None:
            return None
        parity = [{"size": list(size), **report.to_json()} for size, report in self.other_sizes.items()]
        return {**self.free_size.to_json(), "parity": parity}


def export_model(
    graph: Graph,
    weights: Weights | None,
    path: str | Path,
    *,
    fold: bool = True,
    reuse: bool = True,
    fuse: bool = False,
    parity_inputs: int = 32,
    seed: int = 0,
    metadata: Mapping[str, str] = _NO_METADATA,
    external_bytes: int = EXTERNAL_BYTES,
    at_size: AtSize | None = None,
) -> ExportResult:
    """Write ``graph`` with trained ``weights`` as an ONNX file, and deliver it only if parity holds.

    Args:
        graph: Any Graph; it is not changed.
        weights: Trained weights by ONNX name; the Graph's own where None.
        path: The file to write; an existing one is replaced in one step.
        fold: Fold BatchNormalization into convolutions.
        reuse: Merge equal weights and nodes; see :func:`trunkline.export.passes.optimise`.
        fuse: Put parallel convolutions side by side; likewise.
        parity_inputs: Number of seeded input batches to compare on.
        seed: Their seed.
        metadata: Added to the model's ``metadata_props``.
        external_bytes: A model with more bytes of weights keeps them in one file beside it.
        at_size: Gives the same network for images of another size. Then height and width stay free in the file, and it
            is compared at several sizes.

    Raises:
        InvalidModel: The weights do not fit the Graph; or the network allows no free size.
        ParityFailure: The file computes something else; there is no file under ``path`` then.
        WorkFailed: onnxruntime is missing, the disk is full, or the result is not valid ONNX.

    >>> import tempfile
    >>> from trunkline.graph.builder import GraphBuilder
    >>> builder = GraphBuilder("net")
    >>> graph = builder.finish([builder.node("Relu", [builder.image("image", (3, 4, 4))], name="task")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = export_model(graph, None, Path(folder) / "model.onnx", parity_inputs=1)
    >>> result.path.name, result.nodes, result.macs, result.parity.passed
    ('model.onnx', 1, 0, True)
    """
    # First of all: without onnxruntime there is no parity, and so no delivery.
    require_onnxruntime()
    final = Path(path)
    free = None if at_size is None else freed(graph, at_size)
    with staged(final) as target:
        to_write, said = (graph, {}) if free is None else (free.graph, free.sizes.to_metadata())
        model = finished(to_write, weights, fold=fold, reuse=reuse, fuse=fuse, metadata={**metadata, **said})
        write_unchecked(model, target, external_bytes=external_bytes)
        check_file(target)
        # Against the Graph as it was given, not as it was optimised: a wrong pass must show.
        parity = check_parity(target, graph, weights=weights, inputs=parity_inputs, seed=seed)
        # Leaving the block by an exception publishes nothing.
        parity.raise_if_failed()
        others = {} if free is None else _at_other_sizes(target, free, weights, parity_inputs, seed)
        count = count_file(target, image=None if free is None else size_of(graph))
        file_bytes = sum(file.stat().st_size for file in target.parent.iterdir())
    left = not_folded(model.graph) if fold else ()
    sizes = None if free is None else free.sizes
    result = ExportResult(final, parity, count.nodes, count.parameters, count.macs, file_bytes, left)
    return replace(result, free_size=sizes, other_sizes=others)


def _at_other_sizes(
    path: Path, free: Freed, weights: Weights | None, inputs: int, seed: int
) -> dict[Size, ParityReport]:
    """Compare a file with the network as it was read at each other size."""
    _, *others = free.readings
    reports = {}
    for size in others:
        report = check_parity(path, free.readings[size], weights=weights, inputs=inputs, seed=seed)
        try:
            report.raise_if_failed()
        except ParityFailure as error:
            first, *rest = error.problems
            raise ParityFailure([Problem(f"for images of {text_of(size)}: {first.message}"), *rest]) from error
        reports[size] = report
    return reports
