"""``train``: the multi-task model of a plan, from scratch or going on from the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.ingest.graph import Graph
from trunkline.supermodel.layouts import all_shared, independent
from trunkline.supermodel.lower import Lowered, lower
from trunkline.supermodel.plan import SharingPlan
from trunkline.supermodel.twins.module import Twin
from trunkline.train.checkpoint import read_checkpoint
from trunkline.train.evaluate import Metrics
from trunkline.train.model import TaskModel
from trunkline.train.presets import plain_phase
from trunkline.train.progress import make_progress
from trunkline.train.runner import Runner
from trunkline.train.standing import Standing
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.relative import relative_performance
from trunkline.verbs.config import Baseline, train_numbers
from trunkline.verbs.project import PLAN, TRAIN, Project
from trunkline.verbs.search import asdict_json, search

Weights = Mapping[str, np.ndarray[Any, Any]]
Start = Callable[[Lowered], Mapping[str, Tensor]]
"""Gives a lowered model the weights that it starts from, every one of them, by its names."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained multi-task model.

    Attributes:
        name: ``model``, or the baseline's name.
        graph: The lowered Graph, with the weights it started from.
        weights: Trained weights by ONNX name.
        metrics: Of the final weights on the validation split.
        plan: What it was lowered from.
        checkpoint: Where the weights are.
    """

    name: str
    graph: Graph
    weights: Weights
    metrics: Metrics
    plan: SharingPlan
    checkpoint: Path

    def to_json(self) -> dict[str, Any]:
        """Return name, metrics and checkpoint."""
        return {"name": self.name, "metrics": self.metrics, "checkpoint": str(self.checkpoint)}


def train(project: Project, plan: SharingPlan, start: Start | None = None, *, quiet: bool = False) -> TrainResult:
    """Train the model of ``plan``.

    Args:
        project: The run.
        plan: Who shares what.
        start: The search's weights, used where the pipeline says ``start = "search"``.
        quiet: Show no progress.

    Raises:
        InvalidConfig: The plan does not fit the backbone; or it starts from a search of other tasks.
        InvalidModel: It starts from the search, and has weights that the search has not.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    given = start if project.config.train.start == "search" else None
    return _train(project, plan, "model", TRAIN, given, quiet=quiet)


def train_in(project: Project, plan: Path | None = None, *, quiet: bool = False) -> TrainResult:
    """Train the model of a plan file, or of the run's own plan; a finished training is only loaded.

    Raises:
        InvalidConfig: There is no plan yet.
    """
    path = plan or project.out / PLAN
    if not path.is_file():
        raise InvalidConfig("there is no plan yet", place=str(path), advice="run `trunkline search` or give --plan")
    start = None
    if project.config.train.start == "search":
        start = search(project, quiet=quiet).weights
    return train(project, SharingPlan.load(path), start, quiet=quiet)


def train_baseline(project: Project, name: Baseline, *, quiet: bool = False) -> TrainResult:
    """Train a model that shares everything or nothing, alike in all else.

    N independent columns in one Graph have disjoint weights, so training them together on the summed loss is
    training N single-task models.
    """
    makers = {"independent": independent, "all-shared": all_shared}
    plan = makers[name](project.backbone, project.tasks)
    return _train(project, plan, name, f"{TRAIN}-{name}", None, quiet=quiet)


def relative(project: Project, result: TrainResult, baseline: TrainResult) -> dict[str, float]:
    """Return Δ in percent by task and as ``mean``, against single-task models trained alike."""
    tasks = project.losses(train_numbers(project.config))
    directions = {task.name: task.higher_is_better for task in tasks}
    delta = relative_performance(result.metrics, baseline.metrics, directions)
    return {**delta.by_task, "mean": delta.mean}


def tasks_of(project: Project) -> list[Task]:
    """Return the tasks as the final training weighs them."""
    return project.losses(train_numbers(project.config))


def _train(
    project: Project,
    plan: SharingPlan,
    name: str,
    folder_name: str,
    start: Start | None,
    *,
    quiet: bool,
) -> TrainResult:
    numbers = train_numbers(project.config)
    lowered = lower(plan, project.backbone, project.heads)
    twin = Twin(lowered.graph, seed=project.config.seed + 1)
    if start is not None:
        twin.load_weights(start(lowered))
    settings = {"train": project.config.train.model_dump(mode="json"), "numbers": asdict_json(numbers)}
    # Making the runner checks that all it needs fits, before anything is written.
    runner = Runner(
        TaskModel(twin),
        project.losses(numbers),
        project.splits(numbers),
        plain_phase(numbers, "post").model_copy(update={"best_by": project.config.train.best_by}),
        project.folder(folder_name),
        seed=project.config.seed,
        compute=project.compute,
        progress=make_progress(quiet=quiet),
    )
    with project.stage(folder_name, {**settings, "plan": plan.model_dump(mode="json")}):
        outcome = runner.run()
        metrics, checkpoint = outcome.metrics, outcome.checkpoint
        if outcome.best is not None:
            best = read_checkpoint(outcome.best)
            twin.load_weights({key: tensor for key, tensor in best.model.items() if key in twin.weights()})
            metrics, checkpoint = Standing.from_state(best.state).metrics, outcome.best
    weights = {key: tensor.detach().cpu().numpy() for key, tensor in twin.weights().items()}
    result = TrainResult(name, lowered.graph, weights, metrics, plan, checkpoint)
    project.write_json(f"{folder_name}.json", result.to_json())
    return result
