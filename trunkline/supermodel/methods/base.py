"""What a method is: it finds out who shares what, and how the result is trained.

A method is one file of this folder. It has a name, options that are the ``[search]`` table of a pipeline file, and
:meth:`Method.find`. It never runs an optimiser and knows no data set: it describes phases as data
(:mod:`trunkline.recipe`), and asks :class:`Work` to run them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from trunkline.graph.graph import Graph
from trunkline.recipe import Phase, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.task_policies import task_correlation, ways_of_tasks

Start = Callable[[Lowered], Mapping[str, Tensor]]
"""Gives a lowered model the weights that it starts from, every one of them, by its names."""
WeightTerm = Callable[[Mapping[str, Tensor]], Tensor]
"""A loss term over the weights of a model, by name: a differentiable scalar."""
Metrics = Mapping[str, Mapping[str, float]]
"""By task and metric."""
Kind = Literal["fixed", "searched", "soft", "taught"]


class MethodOptions(BaseModel):
    """What a pipeline file may say under ``[search]``; each method adds its own fields.

    A field of type :class:`~pathlib.Path` is taken relative to the pipeline file.

    >>> class FileOptions(MethodOptions):
    ...     file: Path
    >>> FileOptions(file=Path("plan.json")).anchored(Path("/project")).file.as_posix()
    '/project/plan.json'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def paths(self) -> dict[str, Path]:
        """The paths in the table, by key."""
        return {key: value for key, value in self if isinstance(value, Path)}

    def anchored(self, folder: Path) -> Self:
        """Return the table with absolute paths; relative ones are in ``folder``."""
        return self.model_copy(update={key: (folder / path).absolute() for key, path in self.paths.items()})


@dataclass(frozen=True, slots=True)
class Setup:
    """What a method is given.

    Attributes:
        backbone: The backbone, with what is known about it.
        heads: A head per task.
        tasks: Task names in output order.
        kinds: The kind of each task, such as ``depth``.
        seed: The run's: initial weights and noise are drawn from it.
        phase: How the pipeline trains a model whose sharing is decided: what ``[train]`` says.
        steps_an_epoch: Steps in which every training sample is read once.
        read_at: Reads backbone and heads for images of a share of the height and width; None where it cannot.
        loss_weights: λ of each task in ``phase``; 1 where a task has none.
    """

    backbone: Backbone
    heads: Mapping[str, Graph]
    tasks: tuple[str, ...]
    kinds: Mapping[str, str]
    seed: int
    phase: Phase
    steps_an_epoch: int
    read_at: Callable[[float], tuple[Backbone, Mapping[str, Graph]]] | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)

    def search_phase(self, name: str, mode: str, steps: int, turns: Sequence[Turn], **settings: Any) -> Phase:
        """Return a phase of a search that is evaluated, saved and clipped as the pipeline sets it."""
        common = ("clip_norm", "log_every", "eval_every", "eval_split", "checkpoint_every", "keep")
        own = {key: getattr(self.phase, key) for key in common}
        return Phase(name=name, mode=mode, steps=steps, turns=tuple(turns), **{**own, **settings})

    def by_task(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return weights that are given by task, or by kind of task, by task; the task's own comes first."""
        found: dict[str, float] = {}
        for task in self.tasks:
            weight = weights.get(task, weights.get(self.kinds[task]))
            if weight is not None:
                found[task] = weight
        return found


@dataclass(frozen=True, slots=True)
class Policy:
    """What a method has learned, for pictures.

    Attributes:
        options: What the options are called, such as ``shared``.
        units: Names of the units, in order.
        tasks: Names of the tasks, in output order.
        probabilities: Of each option, ``[units, T, options]``; zeros where a task has no option at a unit.
        chosen_by: As in a :class:`~trunkline.sharing.space.Space`: where it is ``node``, rows are of nodes.
    """

    options: tuple[str, ...]
    units: tuple[str, ...]
    tasks: tuple[str, ...]
    probabilities: NDArray[np.float64]
    chosen_by: Literal["task", "node"] = "task"

    @property
    def by_task(self) -> NDArray[np.float64]:
        """The probability that each task runs each option, ``[units, T, options]``, whoever chooses."""
        return ways_of_tasks(self.probabilities) if self.chosen_by == "node" else self.probabilities

    @property
    def correlation(self) -> dict[str, dict[str, float | None]]:
        """The cosine of two tasks' policies, by task and task."""
        rows = task_correlation(self.by_task)
        return {task: dict(zip(self.tasks, row, strict=True)) for task, row in zip(self.tasks, rows, strict=True)}

    def to_json(self, method: str) -> dict[str, Any]:
        """Return plain JSON content."""
        return {
            "method": method,
            "options": list(self.options),
            "units": list(self.units),
            "tasks": list(self.tasks),
            "chosen_by": self.chosen_by,
            "probabilities": self.probabilities.tolist(),
            "by_task": self.by_task.tolist(),
            "correlation": self.correlation,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What a method came to; a plan alone is trained from scratch, as the pipeline says.

    Attributes:
        plan: Who shares what.
        start: Weights that a model goes on from, if there are some.
        goes_on: Whether going on from them is part of the method; else the model starts from scratch.
        phases: How the plan's model is trained: ``None`` as the pipeline says; empty if the weights are final.
        trained: The plan's model, where the work has trained it already, from scratch and as the pipeline says. It is
            delivered as it is, unless the pipeline wants one that goes on from ``start``.
        terms: Loss terms over the weights, for these phases.
        teacher: A trained model of the same tasks and heads. The plan's model learns its maps by the term
            ``teacher``, in the phases that name it; see :class:`~trunkline.train.loop.taught_model.TaughtModel`.
        policy: What was learned, for pictures.
        steps: Steps in which weights moved before; models that are trained in the same way have had none.
    """

    plan: SharingPlan
    start: Start | None = None
    goes_on: bool = False
    phases: tuple[Phase, ...] | None = None
    terms: Mapping[str, WeightTerm] = field(default_factory=dict)
    teacher: Trained | None = None
    policy: Policy | None = None
    steps: int = 0
    trained: Trained | None = None


class Trained(Protocol):
    """The trained model of a plan."""

    @property
    def metrics(self) -> Metrics:
        """By task and metric, on the samples that choose."""

    @property
    def score(self) -> float:
        """How good these metrics are in one number, to compare trainings of one run by: the greater, the better.

        NaN where nothing was evaluated.
        """

    @property
    def losses(self) -> Mapping[str, float]:
        """By task, the mean training loss of the last tenth of its steps that were logged; empty without any."""

    def start(self, lowered: Lowered) -> Mapping[str, Tensor]:
        """Return what another plan's model takes over from this one: every weight, by the other's names.

        A weight of the backbone, or of a head, is taken from where the same task has it here.
        """


T = TypeVar("T")


class Work(Protocol):
    """Runs what a method describes. Every call is a named stage of the run that is resumed where it stopped."""

    def fit(self, name: str, model: Any, phases: Sequence[Phase]) -> Metrics:
        """Train ``model``, a :class:`~trunkline.train.loop.trainable.Trainable`, in place; return its last metrics."""

    def train(
        self, name: str, plan: SharingPlan, *, start: Start | None = None, phases: Sequence[Phase] | None = None
    ) -> Trained:
        """Train the model of a plan for all tasks or some, as the pipeline says where no phases are given."""

    def each(self, jobs: Mapping[str, Callable[[Work], T]]) -> dict[str, T]:
        """Do several jobs, each in a folder of its name."""

    def probe(self, name: str, trained: Any, values: Sequence[str], images: int) -> dict[str, NDArray[np.float32]]:
        """Return values of a :class:`Trained` model for the first images that choose, ``[images, …]`` by name."""


O_ = TypeVar("O_", bound=MethodOptions)


class Method(ABC, Generic[O_]):
    """A way to find out who shares what.

    Attributes:
        name: What pipeline files call it.
        kind: ``fixed``: it decides without data; ``searched``: it learns who shares what; ``soft``: columns stay, and
            joins between or beside them learn; ``taught``: it decides without data, and its model learns from others.
        units: What its plans decide about: operators, or blocks.
        needs: What has to be trained for it, in words for people, as the next two are.
        decides: What it decides.
        yields: What it comes to.
        source: The paper that it is from.
        trains_on: Whether its plans are trained in its own way, or go on from weights of its own.
        leaves_weights: Whether there are weights to go on from behind a search.
        Options: What ``[search]`` may say.

    >>> from trunkline.sharing.layouts import share_until
    >>> class HalfOptions(MethodOptions):
    ...     block: str = "3"
    >>> class Half(Method[HalfOptions]):
    ...     name, kind, units = "half", "fixed", "blocks"
    ...     needs, decides = "nothing: it decides without data", "where the trunk ends"
    ...     source = "this example"
    ...     Options = HalfOptions
    ...
    ...     def find(self, work: Work) -> Found:
    ...         return Found(share_until(self.setup.backbone, self.setup.tasks, self.options.block))
    >>> Half.decisive(HalfOptions())
    {'block': '3'}
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    units: ClassVar[str]
    needs: ClassVar[str]
    decides: ClassVar[str]
    yields: ClassVar[str] = "one plan"
    source: ClassVar[str]
    trains_on: ClassVar[bool] = False
    leaves_weights: ClassVar[bool] = True
    Options: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(self, setup: Setup, options: O_) -> None:
        self.setup = setup
        self.options = options

    @abstractmethod
    def find(self, work: Work) -> Found:
        """Find who shares what.

        Raises:
            InvalidConfig: The options do not fit, or no plan is inside a budget.
        """

    def check(self) -> None:  # most can say nothing before they have trained something
        """Find out what can be found out without any work.

        Raises:
            InvalidConfig: The options do not fit; :meth:`find` would say it after hours.
        """

    @classmethod
    def open_joins(cls, setup: Setup, options: O_) -> tuple[OpenJoin, ...]:
        """Return the joins whose reads a search would choose, if it were begun: what a cost table has times of.

        Such a table may be an option of the method, so none can be asked for here.
        """
        return ()

    @classmethod
    def decisive(cls, options: O_) -> dict[str, Any]:
        """Return the options that a search, once begun, may not change; the others say how its result is used.

        A file counts by what it holds: it may be moved.
        """
        content = options.model_dump(mode="json")
        for key in cls.free():
            content.pop(key, None)
        for key, path in options.paths.items():
            # A file that is gone is not the one that the search began with, and no error of its own here.
            content[key] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        return content

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """Return the options that may change after a search has begun."""
        return ()
