"""``distilled``: a trunk as long as a budget asks for, whose branches learn from single-task models. Ours.

What a cut costs in accuracy is mostly not what its tasks could not share, but what they do not find together in the
steps that they have: one loss outweighs the others, and each task must reach its map through a trunk that others pull
at. So

1. single-task models are trained as every baseline is; they are the measure of Δ anyway,
2. a loss counts by how large it still is at their end: λ_t / L_t, so that equal parts of what remains weigh alike, as
   they do in Δ, which is relative too,
3. the shared model learns, beside its labels, to have in its branches what the single-task models have there: see
   :mod:`trunkline.train.loop.taught_model`.

Only training data decide; with ``best_by``, teachers are chosen as every model is. The model has as many steps as any
other, from scratch; but its teachers' steps are behind it, and its losses weigh by theirs, so it is not trained alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from trunkline.errors import InvalidConfig
from trunkline.recipe import NotNegative, Phase
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Method, MethodOptions
from trunkline.supermodel.methods.fixed import plan_in
from trunkline.supermodel.work import Found, Work

TEACHER = "teacher"
"""The loss term; see :mod:`trunkline.train.loop.taught_model`."""


class DistilledOptions(MethodOptions):
    """Where the trunk ends, and how the model learns from its teachers."""

    max_macs: float = Field(
        0.7, gt=0, description="the most that is executed, as a share of N backbones; decides where the trunk ends"
    )
    block: str | None = Field(None, description="the last block that all tasks share, instead of a budget")
    file: Path | None = Field(None, description="a sharing plan, as `plan.json` of a run, instead of a budget")
    weight: NotNegative = Field(1.0, description="λ of what is learned from the teachers; 0 leaves it out")
    balance: bool = Field(True, description="whether a loss is divided by what single-task models end with")

    @model_validator(mode="after")
    def _one_of_them(self) -> DistilledOptions:
        if self.block is not None and self.file is not None:
            raise ValueError("give `block` or `file`, not both")
        return self


class Distilled(Method[DistilledOptions]):
    """Cut by a budget, taught by single-task models."""

    name = "distilled"
    kind = "taught"
    units = "blocks"
    needs = "trained single-task models"
    decides = "where the trunk ends, and what each loss weighs"
    source = "ours; the distance of maps is recalled from Li and Bilen, 2020"
    trains_on = True
    leaves_weights = False
    Options = DistilledOptions

    def check(self) -> None:
        """Make the plan."""
        self.plan()

    def find(self, work: Work) -> Found:
        """Train single-task models, and let them teach the model of a plan.

        Raises:
            InvalidConfig: The budget is too small, or the plan does not fit.
        """
        plan, phase, options = self.plan(), self.setup.phase, self.options
        if not options.weight and not options.balance:
            return Found(plan)
        # Trained like the baseline of this name, so that it is what Δ is against.
        teacher = work.train("single", independent(self.setup.backbone, self.setup.tasks))
        if options.balance:
            weights = {task: self.setup.loss_weights.get(task, 1.0) for task in self.setup.tasks}
            phase = balanced_phase(phase, teacher.losses, weights)
        if not options.weight:
            return Found(plan, phases=(phase,))
        return Found(plan, phases=(taught_phase(phase, options.weight),), teacher=teacher)

    def plan(self) -> SharingPlan:
        """Return the plan of the file, of the block, or of the shortest trunk inside the budget."""
        options, setup = self.options, self.setup
        if options.file is not None:
            return self._named(plan_in(options.file, setup))
        if options.block is not None:
            return self._named(share_until(setup.backbone, setup.tasks, options.block))
        return self._named(self._within_budget())

    def _named(self, plan: SharingPlan) -> SharingPlan:
        return plan.model_copy(update={"method": self.name})

    def _within_budget(self) -> SharingPlan:
        """Return the shortest trunk inside the budget: what need not be shared is not."""
        backbone, tasks = self.setup.backbone, self.setup.tasks
        if len(tasks) == 1:  # there is nobody to share with, so no budget can ask for it
            return independent(backbone, tasks)
        trunks = [share_until(backbone, tasks, block) for block in backbone.table("block").names[:-1]]
        least = math.inf
        for plan in [independent(backbone, tasks), *trunks, all_shared(backbone, tasks)]:
            share, _ = executed_cost(plan, backbone, self.setup.heads).relative
            if share <= self.options.max_macs:
                return plan
            least = min(least, share)
        text = f"{self.options.max_macs:g} of the MACs is less than one trunk for all runs"
        # Rounded up, so that what is advised is enough.
        advice = f"give {math.ceil(1000 * least) / 1000:g} or more"
        raise InvalidConfig(text, place="search.max_macs", advice=advice)


def taught_phase(phase: Phase, weight: float) -> Phase:
    """Return a phase that has the term ``teacher``, with this weight."""
    turns = [turn.model_copy(update={"terms": {**turn.terms, TEACHER: weight}}) for turn in phase.turns]
    return phase.model_copy(update={"turns": tuple(turns)})


def balanced_phase(phase: Phase, losses: Mapping[str, float], weights: Mapping[str, float]) -> Phase:
    """Return a phase whose losses weigh λ_t / L_t, on average as much as before.

    Args:
        phase: How the model is trained.
        losses: L_t: what each loss is at the end of its single-task model's training.
        weights: λ_t, as the pipeline says.

    Raises:
        InvalidConfig: A loss that counts is not above 0, or not known, so that nothing can be divided by it.

    >>> balanced_phase(Phase(steps=1), {"a": 0.5, "b": 1.5}, {"a": 1.0, "b": 1.0}).loss_weights
    {'a': 1.5, 'b': 0.5}
    """
    without = [task for task, weight in weights.items() if weight and not losses.get(task, 0.0) > 0]
    if without:
        text = f"the loss of {', '.join(without)} ends at 0, or no step has one, so nothing can be divided by it"
        raise InvalidConfig(text, place="search.balance", advice="write `balance = false`")
    relative = {task: weight / losses[task] if weight else 0.0 for task, weight in weights.items()}
    total = math.fsum(relative.values())
    if not total:
        return phase
    scale = math.fsum(weights.values()) / total
    return phase.model_copy(update={"loss_weights": {task: scale * weight for task, weight in relative.items()}})
