"""``bundle``: a trained run as a folder for somebody who has neither us nor torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.export.bundle import Bundle, write_bundle
from trunkline.export.engine.key import hash_model
from trunkline.export.engine.manifest import SealedEngine, sealed_engine
from trunkline.export.provenance import PREFIX, sha256_of
from trunkline.files.write import json_ready
from trunkline.graph.graph import shape_of
from trunkline.pipeline.project import MODEL, PLAN, Project
from trunkline.sharing.plan import SharingPlan
from trunkline.train.tasks.base import Task
from trunkline.verbs.export_precision import PRECISIONS
from trunkline.verbs.made_by import made_by

FLOAT32 = "float32"


def bundle(project: Project, folder: Path, precision: str = FLOAT32, engine: Path | None = None) -> Bundle:
    """Write the bundle of an exported run.

    Args:
        project: The run; its model is exported already, in this precision.
        folder: Where to.
        precision: Of the file to take.
        engine: A TensorRT engine of that file, which :func:`trunkline.verbs.engine.engine` has built.

    Raises:
        InvalidConfig: The run has no such file, or the folder holds something else.
        InvalidModel: The engine is not there, not ours, changed, or of another model.
        WorkFailed: The disk is full.
    """
    first = project.out / MODEL
    model = first if precision == FLOAT32 else first.with_suffix(f".{precision}{first.suffix}")
    if not model.is_file():
        asked = "" if precision == FLOAT32 else f" --precision {precision}"
        advice = f"`trunkline export PIPELINE --out RUN{asked}` writes it"
        raise InvalidConfig("there is no such model yet", place=str(model), advice=advice)
    sealed = None if engine is None else _engine_of(model, engine)
    plan = SharingPlan.load(project.out / PLAN)
    manifest = {
        "name": project.backbone.name,
        "model": {"precision": precision},
        "input": _input(project, model),
        "tasks": [_task(project, task) for task in project.losses],
        "metrics": _metrics(project, precision),
        "plan": {"method": plan.method, "sha256": sha256_of(plan.to_json()), "units": len(plan.units)},
        "made_by": made_by(project.out),
        "metadata": _metadata(model),
    }
    return write_bundle(folder, model, json_ready(manifest), sealed)


def _engine_of(model: Path, engine: Path) -> SealedEngine:
    """Return an engine, if it was built here from this very model."""
    if not engine.is_file():
        advice = f"`trunkline engine {model}` builds one"
        raise InvalidModel("there is no such engine", place=str(engine), advice=advice)
    sealed = sealed_engine(engine)
    if sealed.key.model_sha256 != hash_model(model):
        advice = f"build it with `trunkline engine {model}`, or name the precision that it is of with --precision"
        raise InvalidModel(f"it was built from another file than {model}", place=str(engine), advice=advice)
    return sealed


def _input(project: Project, model: Path) -> dict[str, Any]:
    normalisation = project.data.train.normalisation
    height, width = shape_of(project.backbone.graph.input)[2:]
    return {
        "name": onnx.load(model, load_external_data=False).graph.input[0].name,
        "height": height,
        "width": width,
        "colours": "RGB",
        "formula": "(value / 255 - mean) / std",
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
    }


def _task(project: Project, task: Task) -> dict[str, Any]:
    info = project.data.train.tasks[task.name]
    return {
        "name": task.name,
        "kind": task.kind,
        "channels": task.channels,
        "output": task.label.output_text(task.channels),
        "classes": list(info.classes),
        "drawing": dict(task.drawing),
    }


def _metrics(project: Project, precision: str) -> Mapping[str, Any]:
    """Return the metrics of this very file where it was judged, else those of the trained model."""
    found = _json(project.out / PRECISIONS)
    files = {} if found is None else {file["precision"]: file["metrics"] for file in found["files"]}
    trained = _json(project.out / "train.json") or {}
    return dict(files.get(precision) or trained.get("metrics") or {})


def _metadata(model: Path) -> dict[str, str]:
    props = onnx.load(model, load_external_data=False).metadata_props
    return {item.key: item.value for item in sorted(props, key=lambda item: item.key) if item.key.startswith(PREFIX)}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
