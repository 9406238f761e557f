"""What searched methods have in common: a supermodel that may pay for its cost, and a plan from what it learned."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from trunkline.graph.graph import Graph
from trunkline.recipe import NotNegative, Phase
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel, LossTerm
from trunkline.supermodel.choices import Relaxation
from trunkline.supermodel.cost_term import Counted, cost_term
from trunkline.supermodel.decision import Sampling, choose
from trunkline.supermodel.methods.base import Found, Kind, Method, MethodOptions, Policy, Work

COST = "cost"
"""The loss term that every searched method has."""


class SearchedOptions(MethodOptions):
    """What can be set about every search."""

    cost: Counted = Field("macs", description="what the cost term counts")
    cost_table: Path | None = Field(None, description="milliseconds by operator, in a file; see docs/automtl.md")
    loss_weights: dict[str, NotNegative] = Field({}, description="λ by task or kind, where the search's are others")
    sampling: Sampling = Field(Sampling(), description="how a plan is taken from what was learned, within which budget")

    @model_validator(mode="after")
    def _table_where_needed(self) -> Self:
        if self.cost == "milliseconds" and self.cost_table is None:
            raise ValueError('`cost = "milliseconds"` needs `cost_table`, a file with the time of each unit')
        if self.cost != "milliseconds" and self.cost_table is not None:
            raise ValueError(f'`cost_table` is only read with `cost = "milliseconds"`, and cost is "{self.cost}"')
        return self


class SearchedModel(ChoiceModel):
    """A supermodel with the term ``cost``: the expected cost of what its policy will be lowered to.

    Args:
        space: What is open.
        heads: A head per task.
        options: What the cost counts.
        modes: Relaxations of the method's own, by mode.
        settings: Other arguments of :class:`~trunkline.supermodel.choice_model.ChoiceModel`.
    """

    def __init__(
        self,
        space: Space,
        heads: Mapping[str, Graph],
        options: SearchedOptions,
        modes: Mapping[str, Relaxation],
        **settings: Any,
    ) -> None:
        super().__init__(space, heads, modes, **settings)
        self.expected_cost = cost_term(space, heads, options.cost, options.cost_table)

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term."""
        return {COST: lambda losses: self.cost()}

    def cost(self) -> Tensor:
        """Return the expected cost as a share of T independent backbones."""
        # Of the distribution, not of this step's sample: what is lowered is a new draw from it.
        cost: Tensor = self.expected_cost(self.probabilities())
        return cost.float()


S_ = TypeVar("S_", bound=SearchedOptions)


class SearchedMethod(Method[S_]):
    """A method that trains a supermodel, and takes a plan from the distribution that it learned.

    Attributes:
        option_names: What its options are called in pictures, by number; the last ones may be on no unit of a backbone.
        space: What is open.
        model: Its supermodel.
    """

    kind: ClassVar[Kind] = "searched"
    option_names: tuple[str, ...]
    space: Space
    model: SearchedModel

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Return the search; a turn named ``weights`` is one that moves weights."""

    def find(self, work: Work) -> Found:
        """Search, and take a plan."""
        # A task alone may have one option everywhere. Then no step is taken, for it would find no policy to move.
        phases = self.phases() if self.space.choices else ()
        if phases:
            work.fit("search", self.model, phases)
        plan = choose(self.space, self.setup.heads, self.model.probabilities(), self.options.sampling, self.name)
        # Steps of the policy leave the weights alone.
        moved = sum(phase.turn_steps("weights") for phase in phases)
        return Found(plan, start=self.model.weights, policy=self.policy(), steps=moved)

    def policy(self) -> Policy:
        """Return the probability of every option, for pictures."""
        tasks, units = self.space.tasks, self.space.table.names
        learned = self._learned()
        most = max(len(options) for row in self.space.entries.values() for options in row.values())
        p = np.zeros((len(units), len(tasks), most))
        for index, unit in enumerate(units):
            for number, task in enumerate(tasks):
                # Where one option is all there is, nothing was learned: it is certain.
                row = learned.get(ChoiceId(unit, task), np.ones(1))
                p[index, number, : len(row)] = row
        return Policy(self.option_names[:most], units, tasks, p, self.space.chosen_by)

    def _learned(self) -> dict[ChoiceId, NDArray[np.float64]]:
        found: dict[ChoiceId, NDArray[np.float64]] = {}
        for name, p in self.model.probabilities().items():
            rows = p.detach().double().cpu().numpy()
            found.update(zip(self.model.groups_of_choices[name].choices, rows, strict=True))
        return found

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """How a plan is taken may change after the search: the budget, for one, where no plan kept it."""
        return ("sampling",)
