"""``train``: the multi-task model of a plan, from scratch or going on from what the method ended with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.pipeline.project import PLAN, REPORTING, TRAIN, Project
from trunkline.recipe import Phase
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.registry import baseline_named
from trunkline.supermodel.work import Found, Trained
from trunkline.train.data.record import part_json
from trunkline.train.loop.evaluate import BestMetric, Metrics
from trunkline.train.loop.kept import Kept
from trunkline.train.tasks.relative import RelativePerformance, relative_performance
from trunkline.verbs.search import search
from trunkline.verbs.training import Recipe, TrainedPlan, newest, train_plan, train_settings

_NOTHING_BEFORE = {"search": 0, "teacher": 0}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A trained multi-task model.

    Attributes:
        name: ``model``, or the baseline's name.
        trained: Plan, Graph, weights and metrics.
        training: How it was trained: splits, steps, and what the weights were chosen by.
    """

    name: str
    trained: TrainedPlan
    training: Mapping[str, Any]

    @property
    def plan(self) -> SharingPlan:
        """The plan that it was lowered from."""
        return self.trained.plan

    @property
    def graph(self) -> Graph:
        """The lowered Graph, with the weights it started from."""
        return self.trained.graph

    @property
    def weights(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Trained weights by ONNX name."""
        return self.trained.weights

    @property
    def metrics(self) -> Metrics:
        """Metrics of these weights on the split that reports."""
        return self.trained.reported

    @property
    def kept(self) -> Kept:
        """The checkpoints that the weights are from, and their metrics on the split that chooses."""
        return self.trained.kept

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint that weights are from, if they were trained at all."""
        return newest(self.kept)

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        # By task: the columns of a single-task model may keep different steps.
        kept = {
            task: {"step": self.kept.steps[task], "checkpoint": str(path)}
            for task, path in self.kept.checkpoints.items()
        }
        return {
            "name": self.name,
            "metrics": self.metrics,
            "validation": self.kept.metrics,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "kept": kept,
            "shares": self.trained.shares,
            **self.training,
        }


def train(project: Project, found: Found, *, quiet: bool = False) -> TrainResult:
    """Train the model that a method found, as the method and the pipeline say.

    Args:
        project: The run.
        found: What the method came to.
        quiet: Show no progress.

    Raises:
        InvalidConfig: The plan does not fit the backbone; or it starts from a search of other tasks.
        InvalidModel: It starts from the search, and has weights that the search has not.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    goes_on = goes_on_from_search(project, found)
    if found.trained is not None and not goes_on:
        return _trained_already(project, found.trained)
    phases = _phases_of(project, found, goes_on)
    start = found.start if goes_on else None
    teacher = found.teacher
    assert teacher is None or isinstance(teacher, TrainedPlan)  # the work of a run trains nothing else
    recipe = Recipe(phases, start, found.terms, teacher, train_settings(project))
    trained = train_plan(project, TRAIN, found.plan, recipe, quiet=quiet)
    # Steps of a search whose weights are thrown away have not trained this model.
    searched = found.steps if goes_on else 0
    steps = {"search": searched, "teacher": 0 if teacher is None else project.setup.phase.steps}
    usual = _loss_weights(project, project.setup.phase)
    weighs_as_usual = all(_loss_weights(project, phase) == usual for phase in phases)
    alike = not goes_on and teacher is None and weighs_as_usual
    return _result(project, "model", TRAIN, trained, phases, before=steps, alike=alike)


def _phases_of(project: Project, found: Found, goes_on: bool) -> tuple[Phase, ...]:
    """Return the phases that train the found model."""
    # None is not the same as no phases: a method may end with weights that nothing is to move any more. But a model
    # that starts from scratch has none of them.
    if found.phases is None or not (found.phases or goes_on):
        return (final_phase(project),)
    return found.phases


def _loss_weights(project: Project, phase: Phase) -> dict[str, float]:
    """Return what the loss of each task weighs in a phase."""
    return {task.name: phase.loss_weights.get(task.name, task.weight) for task in project.losses}


def _trained_already(project: Project, trained: Trained) -> TrainResult:
    """Return the model that a method has trained itself: from scratch, and as long as every baseline is."""
    assert isinstance(trained, TrainedPlan)  # the work of a run trains nothing else
    return _result(project, "model", TRAIN, trained, (final_phase(project),))


def goes_on_from_search(project: Project, found: Found) -> bool:
    """Whether a model starts from what the method ended with.

    Raises:
        InvalidConfig: The pipeline asks for it, and the method leaves no weights.
    """
    asked = project.config.train.start
    if asked == "search" and found.start is None:
        text = f"{found.plan.method} ends with a plan, not with weights to go on from"
        raise InvalidConfig(text, place="train.start", advice='leave it out, or write "scratch"')
    return found.goes_on if asked is None else asked == "search"


def train_in(project: Project, plan: Path | None = None, *, quiet: bool = False) -> TrainResult:
    """Train the model of a plan file, or of the run's own plan; a finished training is only loaded.

    Raises:
        InvalidConfig: There is no plan yet.
    """
    path = plan or project.out / PLAN
    if not path.is_file():
        raise InvalidConfig("there is no plan yet", place=str(path), advice="run `trunkline search` or give --plan")
    chosen = SharingPlan.load(path)
    # The search is repeated (finished stages are loaded) only if its weights, or the method's own phases, are needed.
    trains_its_own = plan is None and project.method.trains_on
    if project.config.train.start != "search" and not trains_its_own:
        return train(project, Found(chosen), quiet=quiet)
    found = search(project, quiet=quiet).found
    # Another plan goes on from the search's weights too: `start = "search"` asks for it.
    return train(project, found if plan is None else replace(found, plan=chosen), quiet=quiet)


def train_baseline(project: Project, name: str, *, quiet: bool = False) -> TrainResult:
    """Train a model whose sharing was not searched for, in all else as the found one is trained from scratch.

    N independent columns in one Graph share no weight. They are clipped and judged apart, so training them together
    on the summed loss is training N single-task models.
    """
    folder, phases = f"{TRAIN}-{file_name(project, name)}", (final_phase(project),)
    recipe = Recipe(phases, settings=train_settings(project))
    trained = train_plan(project, folder, project.baseline(name), recipe, quiet=quiet)
    return _result(project, name, folder, trained, phases)


def file_name(project: Project, name: str) -> str:
    """Return a baseline's name for files and folders: blocks by number, and without what a file name cannot hold."""
    method, options = baseline_named(name)
    if not method.argument:
        return name
    argument = str(getattr(options, method.argument))
    # A block may be given by name or by number: it is one baseline, and goes on in one folder.
    table = project.backbone.table("block")
    if argument in table.names:
        argument = str(table.names.index(argument))
    # Only the last part of a path, and of it what every file system takes.
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(argument).name)
    return f"{method.name}-{safe}"


def relative(project: Project, result: TrainResult, baseline: TrainResult) -> RelativePerformance:
    """Return Δ in percent against single-task models."""
    directions = {task.name: task.higher_is_better for task in project.losses}
    return relative_performance(result.metrics, baseline.metrics, directions)


def final_phase(project: Project) -> Phase:
    """Return the phase that trains the found model and every baseline.

    Raises:
        InvalidConfig: ``best_by`` is no metric, or there are no samples to choose by.
    """
    best_by = project.config.train.best_by
    if best_by is None:
        return project.setup.phase
    BestMetric(best_by, project.losses)  # refuses what is no metric
    if project.eval_split is None:
        advice = "set `val_fraction` above 0 under [data], or leave best_by out"
        raise InvalidConfig("no samples are held out to choose by", place="train.best_by", advice=advice)
    return project.setup.phase


def _result(
    project: Project,
    name: str,
    folder: str,
    trained: TrainedPlan,
    phases: tuple[Phase, ...],
    *,
    before: Mapping[str, int] = _NOTHING_BEFORE,
    alike: bool = True,
) -> TrainResult:
    """Return a trained model with how it was trained, and write that down.

    A model that goes on from a search has had steps that no baseline gets. No number of further steps would make
    them the same, because a search's steps move other weights at other rates. So the result records it, and
    Δ is marked. So it does where a teacher was trained ``before``, which shows the model more than its labels do, and
    where the method weighs losses in its own way.
    """
    choosing = project.eval_split
    training = {
        "splits": {
            "choose": None if choosing is None else part_json(project.data, choosing),
            "report": part_json(project.data, REPORTING),
        },
        "best_by": project.config.train.best_by,
        "steps": {**before, "train": sum(phase.steps for phase in phases)},
        "loss_weights": _loss_weights(project, phases[-1]) if phases else {},
        "alike": alike,
    }
    result = TrainResult(name, trained, training)
    project.write_json(f"{folder}.json", result.to_json())
    return result
