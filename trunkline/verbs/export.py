"""``export``: the trained model as one ONNX file, delivered only if parity holds."""

from __future__ import annotations

from pathlib import Path

from trunkline.export.exporter import ExportResult, export_model
from trunkline.pipeline.project import EXPORT, MODEL, Project
from trunkline.verbs.train import TrainResult


def export(project: Project, trained: TrainResult, path: Path | None = None) -> ExportResult:
    """Write ``model.onnx`` into the run's folder, or to ``path``.

    Args:
        project: The run.
        trained: The trained model.
        path: The file to write; ``model.onnx`` in the run's folder if absent.

    Raises:
        ParityFailure: The file computes something else than the trained twin; no file is left.
        WorkFailed: onnxruntime is missing, or the disk is full.
    """
    config = project.config.export
    result = export_model(
        trained.graph,
        trained.weights,
        path or project.out / MODEL,
        fold=config.fold,
        parity_inputs=config.parity_inputs,
        seed=project.config.seed,
        metadata=project.metadata(trained.plan.to_json()),
    )
    project.write_json(EXPORT, result.to_json())
    return result
