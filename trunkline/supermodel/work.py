"""What a method asks for, and what it gives back: work that is done for it, trained models, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trunkline.recipe import Phase
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.learned_policy import Policy

Start = Callable[[Lowered], Mapping[str, Tensor]]
"""Gives a lowered model the weights that it starts from, every one of them, by its names."""
WeightTerm = Callable[[Mapping[str, Tensor]], Tensor]
"""A loss term over the weights of a model, by name: a differentiable scalar."""
Metrics = Mapping[str, Mapping[str, float]]
"""By task and metric."""


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

    def change_against(self, single: Trained) -> Mapping[str, float]:
        """Return by how many percent it is better than single-task models, by task, on the samples that choose.

        A task for which no metric can be compared is left out.
        """

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

    def judge(self, name: str, trained: Any, images: int) -> dict[str, NDArray[np.float64]]:
        """Return the loss of a :class:`Trained` model on each of the first images that choose, ``[images]`` by task.

        NaN where an image has no label for a task.
        """

    def probe(
        self, name: str, trained: Any, values: Sequence[str], images: int, pooled: int | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Return values of a :class:`Trained` model for the first images that choose, ``[images, …]`` by name.

        Maps ``[images, C, h, w]`` are averaged to at most ``pooled`` rows and columns, where that is given.
        """
