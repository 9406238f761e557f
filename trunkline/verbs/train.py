"""``train``: the multi-task model of a plan, from scratch or going on from the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.pipeline.config import train_numbers
from trunkline.pipeline.project import PLAN, REPORTING, TRAIN, Project
from trunkline.recipe import Phase
from trunkline.sharing.baselines import baseline_plan, file_name
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.plan import SharingPlan
from trunkline.train.data.record import part_json
from trunkline.train.loop.batch_feed import SplitData
from trunkline.train.loop.evaluate import BestMetric, Metrics, evaluate, metrics_from_json
from trunkline.train.loop.kept import Kept, keep_best
from trunkline.train.loop.runner import Runner
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.progress.progress import make_progress
from trunkline.train.run_folder.run_folder import RunFolder
from trunkline.train.schedule.presets import plain_phase
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.relative import RelativePerformance, relative_performance
from trunkline.twins.twin import Twin
from trunkline.verbs.search import asdict_json, search, search_steps

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
        metrics: Of these weights, on the split that reports.
        plan: What it was lowered from.
        kept: Where the weights are from, and their metrics on the split that chooses.
        training: How it was trained: splits, steps, and what the weights were chosen by.
    """

    name: str
    graph: Graph
    weights: Weights
    metrics: Metrics
    plan: SharingPlan
    kept: Kept
    training: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint that weights are from; all are from one unless components keep different ones."""
        return max(self.kept.checkpoints.values(), key=lambda path: path.name)

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        kept = {
            task: {"step": self.kept.steps[task], "checkpoint": str(path)}
            for task, path in self.kept.checkpoints.items()
        }
        return {
            "name": self.name,
            "metrics": self.metrics,
            "validation": self.kept.metrics,
            "checkpoint": str(self.checkpoint),
            "kept": kept,
            **self.training,
        }


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


def train_baseline(project: Project, name: str, *, quiet: bool = False) -> TrainResult:
    """Train a model whose sharing was not searched for, alike in all else; see :mod:`trunkline.sharing.baselines`.

    N independent columns in one Graph share no weight. They are clipped and judged apart, so training them together
    on the summed loss is training N single-task models.
    """
    plan = baseline_plan(name, project.backbone, project.tasks)
    return _train(project, plan, name, f"{TRAIN}-{file_name(name, project.backbone)}", None, quiet=quiet)


def relative(project: Project, result: TrainResult, baseline: TrainResult) -> RelativePerformance:
    """Return Δ in percent against single-task models."""
    tasks = project.losses(train_numbers(project.config))
    directions = {task.name: task.higher_is_better for task in tasks}
    return relative_performance(result.metrics, baseline.metrics, directions)


def tasks_of(project: Project) -> list[Task]:
    """Return the tasks as the final training weighs them."""
    return project.losses(train_numbers(project.config))


def final_phase(project: Project) -> Phase:
    """Return the phase that trains the found model and every baseline.

    Raises:
        InvalidConfig: ``best_by`` is no metric, or there are no samples to choose by.
    """
    config = project.config.train
    if config.best_by is not None:
        BestMetric(config.best_by, tasks_of(project))
    if config.best_by is not None and project.eval_split is None:
        advice = "set `val_fraction` above 0 under [data], or leave best_by out"
        raise InvalidConfig("no samples are held out to choose by", place="train.best_by", advice=advice)
    changes = {"best_by": config.best_by, "eval_split": project.eval_split}
    return plain_phase(train_numbers(project.config), "post").model_copy(update=changes)


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
    folder, model, data = project.folder(folder_name), TaskModel(twin), project.splits(numbers)
    # Making the runner checks that all it needs fits, before anything is written.
    runner = Runner(
        model,
        project.losses(numbers),
        data,
        final_phase(project),
        folder,
        seed=project.config.seed,
        compute=project.compute,
        progress=make_progress(quiet=quiet),
    )
    with project.stage(folder_name, {**settings, "plan": plan.model_dump(mode="json")}):
        kept = keep_best(twin, runner.run())
        metrics = _reported(project, folder, model, data, kept)
    weights = {key: tensor.detach().cpu().numpy() for key, tensor in twin.weights().items()}
    result = TrainResult(
        name, lowered.graph, weights, metrics, plan, kept, _training(project, from_search=start is not None)
    )
    project.write_json(f"{folder_name}.json", result.to_json())
    return result


def _reported(project: Project, folder: RunFolder, model: TaskModel, data: SplitData, kept: Kept) -> Metrics:
    """Return the metrics of the kept weights on the split that reports, evaluated once."""
    steps = dict(kept.steps)
    found = folder.read_result()
    if found is not None and found.get("kept") == steps:
        return metrics_from_json(found["metrics"])
    metrics = evaluate(model, tasks_of(project), data.evaluation(REPORTING), project.compute)
    folder.write_result({"kept": steps, "split": REPORTING, "metrics": metrics})
    return metrics


def _training(project: Project, *, from_search: bool) -> dict[str, Any]:
    """Return how a model was trained, as plain JSON content.

    A model that goes on from the search has had steps that no baseline gets. No number of further steps would make
    them alike, because the search's move other weights at other rates; so it is said, and Δ is marked.
    """
    parts = {"choose": project.eval_split, "report": REPORTING}
    search = search_steps(project) if from_search else 0
    return {
        "splits": {role: None if part is None else part_json(project.data, part) for role, part in parts.items()},
        "best_by": project.config.train.best_by,
        "steps": {"search": search, "train": train_numbers(project.config).steps[2]},
        "alike": not from_search,
    }
