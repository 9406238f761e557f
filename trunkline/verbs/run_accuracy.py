"""What the models of a finished run came to against single-task models, its files in other precisions included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

from trunkline.pipeline.project import Project
from trunkline.pipeline.tables import Precision
from trunkline.report.run_files import in_form, json_if_any
from trunkline.report.trade_off import FOUND, SINGLE_TASK
from trunkline.train.loop.evaluate import metrics_from_json
from trunkline.train.tasks.relative import relative_performance
from trunkline.verbs.export_precision import PRECISIONS


def precision_files(model: Path) -> dict[str, Path]:
    """Return the files that lie beside a model in other precisions, by precision."""
    beside = {precision: model.with_suffix(f".{precision}{model.suffix}") for precision in get_args(Precision)}
    return {precision: path for precision, path in beside.items() if path.is_file()}


def changes_of_run(project: Project) -> dict[str, float]:
    """Return the mean Δ in percent by name of a model; empty where no single-task models were trained.

    A file in another precision is called ``model int8`` and so on. Its metrics are its own.
    """
    path = project.out / "delta.json"
    deltas = json_if_any(path)
    if not deltas:
        return {}
    with in_form(path):
        found = {name: delta["mean"] for name, delta in deltas.items()}
    found = {SINGLE_TASK: 0.0, **found, **_of_precisions(project)}
    # JSON has no NaN: it stands for a Δ without a single term.
    return {name: change for name, change in found.items() if change is not None and math.isfinite(change)}


def _of_precisions(project: Project) -> dict[str, float]:
    single, precisions = (json_if_any(project.out / name) for name in (f"train-{SINGLE_TASK}.json", PRECISIONS))
    if not single or not precisions:
        return {}
    directions = {task.name: task.higher_is_better for task in project.losses}
    with in_form(project.out / PRECISIONS):
        alone = metrics_from_json(single["metrics"])
        files = {file["precision"]: metrics_from_json(file["metrics"]) for file in precisions["files"]}
        return {
            f"{FOUND} {precision}": relative_performance(metrics, alone, directions).mean
            for precision, metrics in files.items()
        }
