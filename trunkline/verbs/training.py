"""Training the model of a plan: what the found model, every baseline and a method's own trainings have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.graph import JOIN, Graph
from trunkline.graph.owners import parts_of_weights
from trunkline.pipeline.project import REPORTING, Project
from trunkline.recipe import Phase
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, FragmentWeight, Leading, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Start, WeightTerm
from trunkline.train.loop.evaluate import Metrics, evaluate, metrics_from_json
from trunkline.train.loop.kept import Kept, keep_best
from trunkline.train.loop.runner import Runner
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.progress.progress import make_progress
from trunkline.train.run_folder.run_folder import RunFolder
from trunkline.twins.twin import Twin


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a plan's model is trained.

    Attributes:
        phases: One after the other; none if its weights are final.
        start: What it goes on from; as the backbone says, and drawn, if absent.
        terms: Loss terms over its weights.
        settings: What a stage, once begun, may not change, beside plan and pipeline.
    """

    phases: Sequence[Phase]
    start: Start | None = None
    terms: Mapping[str, WeightTerm] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedPlan:
    """The trained model of a plan.

    Attributes:
        plan: What it was lowered from.
        graph: The lowered Graph, with the weights it started from.
        weights: Trained weights by ONNX name.
        origin: Where each weight comes from.
        kept: Where the weights are from, and their metrics on the split that chooses.
        reported: Metrics on the split that reports.
    """

    plan: SharingPlan
    graph: Graph
    weights: Mapping[str, np.ndarray[Any, Any]]
    origin: Mapping[str, Origin | Leading]
    kept: Kept
    reported: Metrics

    @property
    def metrics(self) -> Metrics:
        """By task and metric, on the samples that choose."""
        return self.kept.metrics

    def start(self, lowered: Lowered) -> dict[str, Tensor]:
        """Return what another plan's model takes over from this one: every weight but those of joins, by its names.

        Raises:
            InvalidModel: A weight of the other model has no counterpart here.
        """
        held: dict[Origin | Leading, str] = {}
        for name, origin in self.origin.items():
            held.setdefault(origin, name)
            held.setdefault(_of_any_column(origin), name)
        found: dict[str, Tensor] = {}
        problems: list[Problem] = []
        for name, origin in lowered.origin.items():
            own = held.get(origin, held.get(_of_any_column(origin)))
            if own is not None:
                found[name] = Tensor(self.weights[own])
            elif not (isinstance(origin, FragmentWeight) and origin.part == JOIN):
                problems.append(Problem("the trained model has no such weight", name))
        if problems:
            raise InvalidModel(problems)
        return found


def train_plan(project: Project, folder_name: str, plan: SharingPlan, recipe: Recipe, *, quiet: bool) -> TrainedPlan:
    """Train the model of ``plan`` in a folder of the run, going on from its last checkpoint.

    Raises:
        InvalidConfig: The plan does not fit the backbone, or the recipe the data.
        InvalidModel: It starts from weights that are not there.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    lowered = lower(plan, project.backbone, project.heads)
    twin = Twin(lowered.graph, seed=project.config.seed + 1)
    if recipe.start is not None:
        # What a join adds between columns was not there before; it starts as its kind says.
        twin.load_weights(recipe.start(lowered), strict=not plan.joins)
    folder, model = project.folder(folder_name), TaskModel(twin, parts_of_weights(lowered.graph), recipe.terms)
    # Making the runners checks that all they need fits, before anything is written.
    runners = [
        Runner(
            model,
            project.losses,
            project.splits,
            phase,
            folder,
            seed=project.config.seed,
            compute=project.compute,
            progress=make_progress(quiet=quiet),
        )
        for phase in recipe.phases
    ]
    with project.stage(folder_name, {**recipe.settings, "plan": plan.model_dump(mode="json")}):
        outcomes = [runner.run() for runner in runners]
        kept = keep_best(twin, outcomes[-1]) if outcomes else Kept({}, {}, {})
        reported = _reported(project, folder, model, kept)
    weights = {key: tensor.detach().cpu().numpy() for key, tensor in twin.weights().items()}
    return TrainedPlan(plan, lowered.graph, weights, lowered.origin, kept, reported)


def newest(kept: Kept) -> Path | None:
    """Return the newest checkpoint that weights are from; all are from one unless components keep different ones."""
    return max(kept.checkpoints.values(), key=lambda path: path.name, default=None)


def _reported(project: Project, folder: RunFolder, model: TaskModel, kept: Kept) -> Metrics:
    """Return the metrics of the kept weights on the split that reports, evaluated once."""
    steps = dict(kept.steps)
    found = folder.read_result()
    if found is not None and found.get("kept") == steps:
        return metrics_from_json(found["metrics"])
    metrics = evaluate(model, project.losses, project.splits.evaluation(REPORTING), project.compute)
    folder.write_result({"kept": steps, "split": REPORTING, "metrics": metrics})
    return metrics


def _of_any_column(origin: Origin | Leading) -> Origin | Leading:
    """Return an origin as the first column reads it: what one set serves in one plan may be a set each in another."""
    return BackboneWeight(origin.name, origin.instance) if isinstance(origin, BackboneWeight) else origin
