"""``export``: the trained model as one ONNX file, delivered only if parity holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trunkline.export.exporter import ExportResult, export_model
from trunkline.export.fusion import FuseMode
from trunkline.pipeline.project import EXPORT, MODEL, Project
from trunkline.verbs.fusion import decide_fusion
from trunkline.verbs.train import TrainResult


def export(
    project: Project, trained: TrainResult, path: Path | None = None, *, fuse: FuseMode | None = None
) -> ExportResult:
    """Write ``model.onnx`` into the run's folder, or to ``path``.

    Args:
        project: The run.
        trained: The trained model.
        path: The file to write; ``model.onnx`` in the run's folder if absent.
        fuse: Whether parallel convolutions are fused; as ``[export]`` says if absent.

    Raises:
        ParityFailure: The file computes something else than the trained twin; no file is left.
        WorkFailed: onnxruntime or what ``[bench]`` measures with is missing, or the disk is full.
    """
    config = project.config.export
    fusion = decide_fusion(project, trained, fuse or config.fuse)
    written = export_model(
        trained.graph,
        trained.weights,
        path or project.out / MODEL,
        fold=config.fold,
        fuse=fusion.fused,
        parity_inputs=config.parity_inputs,
        seed=project.config.seed,
        metadata={**project.metadata(trained.plan.to_json()), **fusion.to_metadata()},
    )
    result = replace(written, fusion=fusion)
    project.write_json(EXPORT, result.to_json())
    return result
