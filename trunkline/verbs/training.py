"""Training the model of a plan: what the found model, every baseline and a method's own trainings have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidConfig, InvalidModel, Problem
from trunkline.fragments.registry import join_kinds
from trunkline.graph.graph import JOIN, Graph
from trunkline.graph.owners import parts_of_weights
from trunkline.pipeline.project import REPORTING, Project
from trunkline.recipe import Phase
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, FragmentWeight, Leading, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.work import Start, Trained, WeightTerm
from trunkline.text import quoted
from trunkline.train.loop.evaluate import RELATIVE, BestMetric, Metrics, evaluate, metrics_from_json
from trunkline.train.loop.kept import Kept, keep_best
from trunkline.train.loop.runner import Runner
from trunkline.train.loop.taught_model import TaughtModel, lessons_of
from trunkline.train.loop.trainable import TaskModel, Trainable
from trunkline.train.progress.progress import make_progress
from trunkline.train.run_folder.run_folder import RunFolder
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.relative import relative_performance
from trunkline.twins.twin import Twin


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a plan's model is trained.

    Attributes:
        phases: The phases, one after the other; none if its weights are final.
        start: Gives the weights that it goes on from; if absent, it starts with the backbone's, and others are drawn.
        terms: Loss terms over its weights, by name.
        teacher: A trained model whose maps it learns, where a phase has the term ``teacher``.
        settings: What must stay the same when a stage is resumed, besides plan and pipeline.
    """

    phases: Sequence[Phase]
    start: Start | None = None
    terms: Mapping[str, WeightTerm] = field(default_factory=dict)
    teacher: TrainedPlan | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedPlan:
    """The trained model of a plan.

    Attributes:
        plan: The plan that it was lowered from.
        graph: The lowered Graph, with the weights it started from.
        weights: Trained weights by ONNX name.
        origin: Which weight of the backbone, a skip or a fragment each weight is, by ONNX name.
        kept: The checkpoints that the weights are from, and their metrics on the split that chooses.
        reported: Metrics on the split that reports.
        losses: By task, the mean training loss of the last tenth of its steps that were logged; empty without any.
        score: How good the metrics of ``kept`` are in one number, as ``best_by`` ranks checkpoints, or by relative
            performance; NaN where nothing was evaluated.
        directions: By task, the metrics that count, and whether higher is better.
    """

    plan: SharingPlan
    graph: Graph
    weights: Mapping[str, np.ndarray[Any, Any]]
    origin: Mapping[str, Origin | Leading]
    kept: Kept
    reported: Metrics
    losses: Mapping[str, float] = field(default_factory=dict)
    score: float = math.nan
    directions: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    def change_against(self, single: Trained) -> dict[str, float]:
        """Return the relative performance against single-task models, by task, on the samples that choose."""
        counted = {task: self.directions.get(task, {}) for task in self.plan.tasks}
        return relative_performance(self.metrics, single.metrics, counted).by_task

    @property
    def metrics(self) -> Metrics:
        """By task and metric, on the samples that choose."""
        return self.kept.metrics

    @property
    def shares(self) -> dict[str, dict[int, float]]:
        """How much of each of its reads a join's result has, by join and number, for kinds that weigh by numbers."""
        stored: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for name, origin in self.origin.items():
            if isinstance(origin, FragmentWeight) and origin.part == JOIN:
                stored.setdefault(origin.owner, {})[origin.name] = self.weights[name]
        kinds = join_kinds()
        found = {join.name: kinds[join.kind]().shares(stored.get(join.weights_of, {})) for join in self.plan.joins}
        return {name: shares for name, shares in found.items() if shares}

    def start(self, lowered: Lowered) -> dict[str, Tensor]:
        """Return what another plan's model takes over from this one: every weight but those of joins, by its names.

        Args:
            lowered: The other plan's model.

        Raises:
            InvalidModel: A weight of the other model has no counterpart here.
        """
        held: dict[Origin | Leading, str] = {}
        for name, origin in self.origin.items():
            # The first one stays: where several sets describe one weight, it is that of the first column.
            held.setdefault(origin, name)
            held.setdefault(_of_any_column(origin), name)
        found: dict[str, Tensor] = {}
        problems: list[Problem] = []
        for name, origin in lowered.origin.items():
            own = held.get(origin, held.get(_of_any_column(origin)))
            is_of_join = isinstance(origin, FragmentWeight) and origin.part == JOIN
            if own is not None:
                found[name] = Tensor(self.weights[own])
            elif not is_of_join:
                problems.append(Problem("the trained model has no such weight", name))
        if problems:
            raise InvalidModel(problems)
        return found


def train_plan(project: Project, folder_name: str, plan: SharingPlan, recipe: Recipe, *, quiet: bool) -> TrainedPlan:
    """Train the model of ``plan`` in a folder of the run, going on from its last checkpoint.

    The plan may be for some of the run's tasks; the others are neither trained nor judged then.

    Raises:
        InvalidConfig: The plan does not fit the backbone or the run's tasks, or the recipe the data.
        InvalidModel: It starts from weights that are not there.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    tasks = _tasks_of(project, plan)
    lowered = lower(plan, project.backbone, {task.name: project.heads[task.name] for task in tasks})
    # Not the run's own seed, from which a search draws: a model from scratch must not begin with the search's draws.
    twin = Twin(lowered.graph, seed=project.config.seed + 1)
    if recipe.start is not None:
        # What a join adds between columns was not there before; it starts as its kind sets it.
        twin.load_weights(recipe.start(lowered), strict=not plan.joins)
    folder, model = project.folder(folder_name), _model(project, lowered, twin, recipe)
    runners = make_runners(project, model, recipe.phases, folder, quiet=quiet)
    with project.stage(folder_name, {**recipe.settings, "plan": plan.model_dump(mode="json")}):
        outcomes = [runner.run() for runner in runners]
        kept = keep_best(twin, outcomes[-1]) if outcomes else Kept({}, {}, {})
        reported = _reported(project, folder, model, tasks, kept)
    weights = {key: tensor.detach().cpu().numpy() for key, tensor in twin.weights().items()}
    losses, score = last_losses(folder.log.records()), _score(project, tasks, kept)
    directions = {task.name: task.higher_is_better for task in tasks}
    return TrainedPlan(plan, lowered.graph, weights, lowered.origin, kept, reported, losses, score, directions)


def last_losses(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return by task the mean loss over the last tenth of its logged steps in the last phase; empty without any.

    A step counts for the tasks that had a label in it.

    >>> steps = [{"kind": "step", "phase": "post", "losses": {"depth": loss}} for loss in (9.0, 8.0, 2.0)]
    >>> last_losses([*steps, {"kind": "evaluation", "phase": "post"}])
    {'depth': 2.0}
    """
    steps = [record for record in records if record.get("kind") == "step"]
    of_phase = [step for step in steps if step["phase"] == steps[-1]["phase"]]
    by_task: dict[str, list[float]] = {}
    for step in of_phase:
        for task, loss in step["losses"].items():
            by_task.setdefault(task, []).append(loss)
    found: dict[str, float] = {}
    for task, losses in by_task.items():
        last = losses[-math.ceil(len(losses) / 10) :]
        found[task] = math.fsum(last) / len(last)
    return found


def _model(project: Project, lowered: Lowered, twin: Twin, recipe: Recipe) -> TaskModel:
    """Return the model that is trained: with its teacher, where it has one."""
    parts, teacher = parts_of_weights(lowered.graph), recipe.teacher
    if teacher is None:
        return TaskModel(twin, parts, recipe.terms)
    lessons = lessons_of(lowered.graph, teacher.graph)
    teaching = Twin(teacher.graph, weights=teacher.weights)
    return TaughtModel(twin, parts, recipe.terms, teacher=teaching, lessons=lessons)


def make_runners(
    project: Project, model: Trainable, phases: Sequence[Phase], folder: RunFolder, *, quiet: bool
) -> list[Runner]:
    """Return a runner for each phase. Making them checks that all they need fits, before anything is written.

    Raises:
        InvalidConfig: A phase does not fit the model, the data or the tasks.
        WorkFailed: The device is not there.
    """
    tasks = [task for task in project.losses if task.name in model.tasks]
    return [
        Runner(
            model,
            tasks,
            project.splits,
            phase,
            folder,
            seed=project.config.seed,
            compute=project.compute,
            progress=make_progress(quiet=quiet),
        )
        for phase in phases
    ]


def train_settings(project: Project) -> dict[str, Any]:
    """Return what a stage that is trained by ``[train]`` may not change once it is begun."""
    # Another baseline may be added to a run later: it does not change how the others were trained.
    content = project.config.train.model_dump(mode="json", exclude={"baselines"})
    return {"train": content}


def newest(kept: Kept) -> Path | None:
    """Return the newest checkpoint that weights are from; all are from one unless components keep different ones."""
    # A name ends in the step, with leading zeros, so that names sort as steps do.
    return max(kept.checkpoints.values(), key=lambda path: path.name, default=None)


def _tasks_of(project: Project, plan: SharingPlan) -> list[Task]:
    """Return the tasks that a plan is for."""
    unknown = [name for name in plan.tasks if name not in project.tasks]
    if unknown:
        text = f"the plan is for {', '.join(plan.tasks)}; the run has no task {quoted(unknown[0])}"
        raise InvalidConfig(text, advice=f"its tasks are {', '.join(project.tasks)}")
    return [task for task in project.losses if task.name in plan.tasks]


def _reported(project: Project, folder: RunFolder, model: TaskModel, tasks: Sequence[Task], kept: Kept) -> Metrics:
    """Return the metrics of the kept weights on the split that reports, evaluated once."""
    # The split that reports is read once, for the weights that are kept: whoever looks at it again and again may choose
    # by it. A run that is repeated finds what was written then.
    steps = dict(kept.steps)
    found = folder.read_result()
    if found is not None and found.get("kept") == steps:
        return metrics_from_json(found["metrics"])
    metrics = evaluate(model, tasks, project.splits.evaluation(REPORTING), project.compute)
    folder.write_result({"kept": steps, "split": REPORTING, "metrics": metrics})
    return metrics


def _score(project: Project, tasks: Sequence[Task], kept: Kept) -> float:
    """Return how good the kept weights are on the split that chooses; NaN where nothing was evaluated."""
    if not kept.metrics:
        return math.nan
    names = [task.name for task in tasks]
    # What a run calls its best checkpoint by decides between its trainings too; a plan may be for other tasks.
    best_by = project.config.train.best_by or RELATIVE
    ranked = best_by if best_by.partition(".")[0] in names else RELATIVE
    return BestMetric(ranked, tasks).score({**kept.metrics}, names)


def _of_any_column(origin: Origin | Leading) -> Origin | Leading:
    """Return an origin without its column: one plan may have one set of a weight where another has a set a task."""
    if isinstance(origin, BackboneWeight):
        return BackboneWeight(origin.name, origin.instance)
    return origin
