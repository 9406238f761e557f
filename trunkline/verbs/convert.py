"""``convert``: any supported file to canonical ONNX, parity checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import InvalidConfig
from trunkline.export.exporter import ExportResult, export_model
from trunkline.ingest.read import read

Weights = Mapping[str, np.ndarray[Any, Any]]


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
        return {**export_json(self.export), "notes": list(self.notes)}


def export_json(result: ExportResult) -> dict[str, Any]:
    """Return the JSON form of an export."""
    return {
        "path": str(result.path),
        "nodes": result.nodes,
        "parameters": result.parameters,
        "macs": result.macs,
        "file_bytes": result.file_bytes,
        "parity": result.parity.to_json(),
    }


def convert(
    model: str | Path,
    out: str | Path,
    *,
    weights: Path | None = None,
    input_size: tuple[int, int] | None = None,
    fold: bool = False,
    reuse: bool = False,
    parity_inputs: int = 32,
) -> ConvertResult:
    """Read a model and write it as canonical ONNX that computes the same.

    Args:
        model: Prototxt, ONNX or ``zoo:NAME``.
        out: The ONNX file to write.
        weights: A safetensors file that replaces weights by name.
        input_size: Height and width that replace the file's.
        fold: Fold BatchNormalization into convolutions.
        reuse: Compute equal things once; off, because weights that only start equal would be tied for good.
        parity_inputs: Number of seeded inputs to compare on.

    Raises:
        InvalidModel: The file cannot be read, or the weights do not fit.
        ParityFailure: The written file computes something else.
    """
    graph = read(model, input_size=input_size)
    given = None if weights is None else load_weights(weights)
    result = export_model(graph, given, out, fold=fold, reuse=reuse, parity_inputs=parity_inputs)
    return ConvertResult(result, graph.notes)


def load_weights(path: Path) -> Weights:
    """Read weights by name from a safetensors file; no other format is read, because others run code.

    Raises:
        InvalidConfig: It is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "there is no such file"
        raise InvalidConfig(reason, place=str(path), advice="give a safetensors file of weights by name")
    try:
        found: dict[str, np.ndarray[Any, Any]] = load_file(path)
    except (SafetensorError, OSError) as error:
        advice = "save the weights with the safetensors package: pickles run code and are never read"
        raise InvalidConfig(f"this is no safetensors file: {error}", place=str(path), advice=advice) from error
    return found
