"""What searched methods have in common: a supermodel that may pay for its cost, and a plan from what it learned."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.recipe import NotNegative, Phase
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel, LossTerm
from trunkline.supermodel.choices import Relaxation
from trunkline.supermodel.cost_term import ExecutedKind, cost_term
from trunkline.supermodel.decision import Sampling, choose
from trunkline.supermodel.learned_policy import Policy
from trunkline.supermodel.methods.base import Kind, Method
from trunkline.supermodel.methods.cost_options import COST, CostOptions
from trunkline.supermodel.work import Found, Trained, Work


class SearchedOptions(CostOptions):
    """What can be set about every search."""

    loss_weights: dict[str, NotNegative] = Field({}, description="λ by task or kind, where the search's are others")
    resolution: float = Field(
        1.0, gt=0, le=1, description="share of the images' height and width at which the search sees them"
    )
    sampling: Sampling = Field(Sampling(), description="how a plan is taken from what was learned, within which budget")


class SearchedModel(ChoiceModel):
    """A supermodel with the term ``cost``: the expected cost of what its policy will be lowered to.

    Args:
        space: What is open.
        heads: A head per task.
        options: What the cost counts.
        modes: Relaxations of the method's own, by mode.
        executed: The method's own formula of what is executed; the exact one if absent.
        settings: Other arguments of :class:`~trunkline.supermodel.choice_model.ChoiceModel`.
    """

    def __init__(
        self,
        space: Space,
        heads: Mapping[str, Graph],
        options: SearchedOptions,
        modes: Mapping[str, Relaxation],
        *,
        executed: ExecutedKind | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(space, heads, modes, **settings)
        self.expected_cost = cost_term(space, heads, options.cost, options.cost_table, executed)

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term."""
        return {COST: lambda losses: self.cost()}

    def cost(self) -> Tensor:
        """Return the expected cost as a share of T independent backbones."""
        # Of the distribution, not of this step's sample: what is lowered is a new draw from it.
        cost: Tensor = self.expected_cost(self.probabilities())
        return cost.float()


def after_warm_up(steps: int, warm_up: Callable[[], Phase], search: Phase) -> list[Phase]:
    """Return a warm-up and the search behind it; the search alone where no steps are given to the warm-up."""
    return [warm_up(), search] if steps else [search]


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
        steps = self.learn(work)
        setup, policy = self.setup, self.model.probabilities()
        plan = choose(self.space, setup.heads, policy, self.options.sampling, self.name, setup.seed)
        return self.found(plan, steps)

    def learn(self, work: Work) -> int:
        """Run the search, and return the steps in which weights moved: those of the policy leave them alone."""
        # A task alone may have one option everywhere. Then no step is taken, for it would find no policy to move.
        phases = self.phases() if self.space.choices else ()
        if phases:
            work.fit("search", self.model, self._at_resolution(phases))
        return sum(phase.turn_steps("weights") for phase in phases)

    def found(self, plan: SharingPlan, steps: int, trained: Trained | None = None) -> Found:
        """Return a plan that was taken from what was learned in so many steps, with its model if it is trained."""
        return Found(plan, start=self.model.weights, policy=self.policy(), steps=steps, trained=trained)

    def _at_resolution(self, phases: Sequence[Phase]) -> Sequence[Phase]:
        """Let the model run on smaller images, and return the phases that read such ones.

        The plan, its costs and its budget are those at full size.

        Raises:
            InvalidConfig: The backbone cannot be read for this size, or is another one there.
        """
        resolution = self.options.resolution
        if resolution == 1.0:
            return phases
        if self.setup.read_at is None:
            raise InvalidConfig("the backbone is there at one size only", place="search.resolution")
        self.model.run_on(*self.setup.read_at(resolution))
        return [phase.model_copy(update={"resolution": resolution}) for phase in phases]

    def policy(self) -> Policy:
        """Return the probability of every option, for pictures."""
        tasks, units = self.space.tasks, self.space.table.names
        learned = self._learned()
        p = np.zeros((len(units), len(tasks), len(self.option_names)))
        most = 0
        for index, unit in enumerate(units):
            for number, task in enumerate(tasks):
                # Where one option is all there is, nothing was learned: it is certain.
                row = learned.get(ChoiceId(unit, task), np.ones(1))
                columns = [self.column(unit, task, option) for option in range(len(self.space.entries[unit][task]))]
                p[index, number, columns] = row[: len(columns)]
                most = max(most, 1 + max(columns))
        return Policy(self.option_names[:most], units, tasks, p[..., :most], self.space.chosen_by)

    def column(self, unit: str, task: str, number: int) -> int:
        """Return which of ``option_names`` an option of a task at a unit is: of this number, unless a method says."""
        return number

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
