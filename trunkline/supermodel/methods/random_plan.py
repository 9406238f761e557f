"""``random``: every unit and task draws one of its options, all equally likely. What a search must at least beat.

A search that pays for its cost, or keeps a budget, ends with a cheap plan, and most random plans are dear: one task
that chooses differently separates all behind it. So that only *who* shares what makes the difference, a random plan may
be asked for of given cost. Plans are drawn then until one has it. For each it is drawn first in how many units tasks
decide for themselves, where all others are shared by all, and how often a task skips such a unit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.recipe import Positive
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space
from trunkline.sharing.units import Granularity, Unit
from trunkline.supermodel.choice_groups import groups_of
from trunkline.supermodel.cost_term import cost_term
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod, plan_in

Picks = dict[ChoiceId, int]
"""Number of the option taken, by choice."""
TRIES = 5_000
"""Draws after which a cost counts as out of reach. Each takes a millisecond or so."""


class RandomOptions(MethodOptions):
    """What is drawn.

    >>> RandomOptions(macs=0.6).tolerance
    0.02
    """

    draw: int = Field(0, ge=0, description="number of the draw; together with the run's seed it decides the plan")
    units: Granularity = Field("operator", description="what is decided about")
    space: Literal["copies", "tree", "runs"] = Field(
        "copies", description="shared, own or skip as AutoMTL has it; a tree, as BMTAS; or run or skip, as AdaShare"
    )
    skip: bool = Field(True, description="whether skip is an option; a tree has none")
    macs: Positive | None = Field(None, description="its executed MACs, as a share of T backbones; any if absent")
    like: Path | None = Field(None, description="a plan file whose executed MACs it is to have, instead of `macs`")
    tolerance: Positive = Field(0.02, description="how far from them its MACs may be, as a share of T backbones")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.macs is not None and self.like is not None:
            raise ValueError("`macs` and `like` both say what the plan is to cost: leave one out")
        if self.space == "runs" and not self.skip:
            raise ValueError('without skips there is nothing to draw of `space = "runs"`')
        return self


class Random(FixedMethod[RandomOptions]):
    """Shared, own or skip, each as likely as the others."""

    name = "random"
    units = "operators or blocks"
    decides = "everything by chance"
    source = "the ablation of AutoMTL (Sec. 4.4)"
    Options = RandomOptions
    argument = "draw"

    def plan(self) -> SharingPlan:
        """Draw a plan; a task that would skip everything runs the first unit.

        Raises:
            InvalidConfig: No plan of the cost that is asked for was found, or the file has none for this backbone.
        """
        space = self._space()
        rng = random.Random(f"{self.setup.seed}/{self.options.draw}")  # noqa: S311  # a plan is no secret
        wanted = self._wanted()
        if wanted is None:
            drawn = {choice: rng.randrange(space.option_count(choice)) for choice in space.choices}
            picks = _none_empty(space, drawn)
        else:
            picks = self._picks_for(wanted, space, rng)
        return space.plan(picks, method=self.name, provenance={"draw": self.options.draw})

    def _picks_for(self, wanted: float, space: Space, rng: random.Random) -> Picks:
        """Return picks of a plan whose executed MACs are a share of T backbones, within the tolerance.

        Raises:
            InvalidConfig: None was drawn.
        """
        costs, nearest = _Costs(space, self.setup.heads), math.inf
        for _ in range(TRIES if space.choices else 1):
            picks = _none_empty(space, _with_odds(space, rng))
            cost = costs.of(picks)
            if abs(cost - wanted) <= self.options.tolerance:
                return picks
            nearest = min(nearest, cost, key=lambda found: abs(found - wanted))
        text = f"no random plan was found that runs {wanted:.3f} of the MACs; the nearest runs {nearest:.3f}"
        raise InvalidConfig(text, place="search.macs", advice="ask for another number, or raise `tolerance`")

    def _space(self) -> Space:
        kind, skip = self.options.space, [Option(skip=True)] if self.options.skip else []

        def options(unit: Unit, task: int) -> list[Option]:
            if kind == "tree":
                return [Option(number) for number in range(len(self.setup.tasks))]
            return [Option(0), *skip] if kind == "runs" else [Option(0), Option(task + 1), *skip]

        return Space.over(self.setup.backbone, self.setup.tasks, self.options.units, options, tie=kind != "tree")

    def _wanted(self) -> float | None:
        """Return the executed MACs that the plan is to have, as a share of T backbones."""
        path = self.options.like
        if path is None:
            return self.options.macs
        return executed_cost(plan_in(path, self.setup), self.setup.backbone, self.setup.heads).relative[0]


class _Costs:
    """Executed MACs of picks, without lowering them: the expected cost of a policy that is certain."""

    def __init__(self, space: Space, heads: Mapping[str, Graph]) -> None:
        self._groups = groups_of(space)
        self._term = cost_term(space, heads, "macs")

    def of(self, picks: Picks) -> float:
        """Return them as a share of T backbones."""
        policy = {}
        for group in self._groups:
            numbers = torch.tensor([picks[choice] for choice in group.choices])
            policy[group.name] = F.one_hot(numbers, group.options).double()
        return float(self._term(policy))


def _with_odds(space: Space, rng: random.Random) -> Picks:
    """Draw picks after drawing how many units are decided task by task, and how often a task skips these."""
    units = len(space.table.units)
    # From one unit to all of them, each order of magnitude as likely: sharing ends with the first unit that is not
    # shared, so plans that differ in cost differ in few units.
    apart = units ** (rng.random() - 1)
    skips = rng.random()
    open_units = {name for name in space.table.names if rng.random() < apart}
    picks: Picks = {}
    for choice in space.choices:
        options = space.entries[choice.place][choice.task]
        whole = [number for number, option in enumerate(options) if not option.skip]
        if choice.place not in open_units:
            picks[choice] = 0
        elif len(whole) < len(options) and rng.random() < skips:
            picks[choice] = len(options) - 1
        else:
            picks[choice] = rng.choice(whole)
    return picks


def _none_empty(space: Space, picks: Picks) -> Picks:
    """Return picks in which a task that would skip everything runs the first unit."""
    entries = space.fixed(picks).entries.values()
    empty = [task for task in space.tasks if all(row[task][0].skip for row in entries)]
    # No plan may skip everything; the shared first unit is the least that can be put in its place.
    return {**picks, **{ChoiceId(space.table.names[0], task): 0 for task in empty}}
