"""``export``: the trained model as one ONNX file, delivered only if parity holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trunkline.export.exporter import ExportResult, export_model
from trunkline.export.free_size.free import AtSize, freed
from trunkline.export.fusion import FuseMode
from trunkline.pipeline.project import EXPORT, MODEL, Project
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.verbs.fusion import decide_fusion
from trunkline.verbs.other_size import plan_at_size
from trunkline.verbs.train import TrainResult


def export(
    project: Project,
    trained: TrainResult,
    path: Path | None = None,
    *,
    fuse: FuseMode | None = None,
    free_size: bool | None = None,
) -> ExportResult:
    """Write ``model.onnx`` into the run's folder, or to ``path``.

    Args:
        project: The run.
        trained: The trained model.
        path: The file to write; ``model.onnx`` in the run's folder if absent.
        fuse: Whether parallel convolutions are fused; as ``[export]`` says if absent.
        free_size: Leave the image's height and width free; as ``[export]`` says where None.

    Raises:
        InvalidModel: A free size was asked for, and the network allows none.
        ParityFailure: The file computes something else than the trained twin; no file is left.
        WorkFailed: onnxruntime or what ``[bench]`` measures with is missing, or the disk is full.
    """
    config = project.config.export
    is_free = config.free_size if free_size is None else free_size
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
        at_size=at_size_of(project, trained.plan) if is_free else None,
    )
    result = replace(written, fusion=fusion)
    project.write_json(EXPORT, result.to_json())
    return result


def check_free_size(project: Project) -> None:
    """Check before any training that the fully shared model allows a free size: others run the same operators.

    Raises:
        InvalidModel: It does not; the node is named.
    """
    plan = all_shared(project.backbone, project.tasks)
    freed(lower(plan, project.backbone, project.heads).graph, at_size_of(project, plan))


def at_size_of(project: Project, plan: SharingPlan) -> AtSize:
    """Return what gives the model of a run's plan for images of another size."""
    return plan_at_size(plan, project.at_size)
