"""``train``: the multi-task model of a plan, from scratch or going on from what the method ended with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.pipeline.project import PLAN, REPORTING, TRAIN, Project
from trunkline.recipe import Phase
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Found
from trunkline.supermodel.methods.registry import baseline_named
from trunkline.train.data.record import part_json
from trunkline.train.loop.evaluate import BestMetric, Metrics
from trunkline.train.loop.kept import Kept
from trunkline.train.tasks.relative import RelativePerformance, relative_performance
from trunkline.verbs.search import search
from trunkline.verbs.training import Recipe, TrainedPlan, newest, train_plan


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
        """What it was lowered from."""
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
        """Of these weights, on the split that reports."""
        return self.trained.reported

    @property
    def kept(self) -> Kept:
        """Where the weights are from, and their metrics on the split that chooses."""
        return self.trained.kept

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint that weights are from, if they were trained at all."""
        return newest(self.kept)

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
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "kept": kept,
            **self.training,
        }


def train(project: Project, found: Found, *, quiet: bool = False) -> TrainResult:
    """Train the model that a method found, as the method and the pipeline say.

    Args:
        project: The run.
        found: By the method.
        quiet: Show no progress.

    Raises:
        InvalidConfig: The plan does not fit the backbone; or it starts from a search of other tasks.
        InvalidModel: It starts from the search, and has weights that the search has not.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    goes_on = goes_on_from_search(project, found)
    phases = (final_phase(project),) if found.phases is None else found.phases
    recipe = Recipe(phases, found.start if goes_on else None, found.terms, _settings(project))
    trained = train_plan(project, TRAIN, found.plan, recipe, quiet=quiet)
    return _result(project, "model", TRAIN, trained, phases, searched=found.steps if goes_on else 0, alike=not goes_on)


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
    # Only a method that says how its model is trained, or what it goes on from, need be asked again.
    if project.config.train.start == "search" or (plan is None and project.method.trains_on):
        found = search(project, quiet=quiet).found
        return train(project, found if plan is None else _replaced(found, chosen), quiet=quiet)
    return train(project, Found(chosen), quiet=quiet)


def train_baseline(project: Project, name: str, *, quiet: bool = False) -> TrainResult:
    """Train a model whose sharing was not searched for, alike in all else.

    N independent columns in one Graph share no weight. They are clipped and judged apart, so training them together
    on the summed loss is training N single-task models.
    """
    folder, phases = f"{TRAIN}-{file_name(project, name)}", (final_phase(project),)
    trained = train_plan(
        project, folder, project.baseline(name), Recipe(phases, settings=_settings(project)), quiet=quiet
    )
    return _result(project, name, folder, trained, phases, searched=0, alike=True)


def file_name(project: Project, name: str) -> str:
    """Return a baseline's name as files have it: blocks go by number, other arguments lose what files cannot bear."""
    method, options = baseline_named(name)
    if not method.argument:
        return name
    argument = str(getattr(options, method.argument))
    table = project.backbone.table("block")
    if argument in table.names:
        argument = str(table.names.index(argument))
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
    if best_by is not None:
        BestMetric(best_by, project.losses)
    if best_by is not None and project.eval_split is None:
        advice = "set `val_fraction` above 0 under [data], or leave best_by out"
        raise InvalidConfig("no samples are held out to choose by", place="train.best_by", advice=advice)
    return project.setup.phase


def _replaced(found: Found, plan: SharingPlan) -> Found:
    return Found(plan, found.start, found.goes_on, found.phases, found.terms, found.policy, found.steps)


def _settings(project: Project) -> dict[str, Any]:
    content = project.config.train.model_dump(mode="json", exclude={"baselines"})
    return {"train": content}


def _result(
    project: Project,
    name: str,
    folder: str,
    trained: TrainedPlan,
    phases: tuple[Phase, ...],
    *,
    searched: int,
    alike: bool,
) -> TrainResult:
    """Return a trained model with how it was trained, and write that down.

    A model that goes on from a search has had steps that no baseline gets. No number of further steps would make
    them alike, because the search's move other weights at other rates; so it is said, and Δ is marked.
    """
    parts = {"choose": project.eval_split, "report": REPORTING}
    training = {
        "splits": {role: None if part is None else part_json(project.data, part) for role, part in parts.items()},
        "best_by": project.config.train.best_by,
        "steps": {"search": searched, "train": sum(phase.steps for phase in phases)},
        "alike": alike,
    }
    result = TrainResult(name, trained, training)
    project.write_json(f"{folder}.json", result.to_json())
    return result
