"""AutoMTL (Zhang et al. 2022): every operator of every task shares, copies or skips; the policy is learned.

The search pre-trains with the average of the options, then alternates between policy and weights on disjoint data; the
plan is taken from the learned distribution and trained from scratch. The loss terms are

* ``regularization``: L_reg of Eq. 2, Σ_t Σ_l (L−l)/L · {softplus(s(P'(own)−P'(shared))) +
  softplus(s(P'(skip)−P'(shared)))}. The paper's slope s is 1 and P' is the sample of the forward pass; the
  release trains the policy with s = 6 on a second sample.
* ``cost``: the expected cost of the backbone that the policy will be lowered to, as a share of N independent ones
  (:mod:`trunkline.supermodel.expected_cost`): executed multiply-accumulates, stored parameters, or executed
  milliseconds of a table. Neither paper nor release has it; without it scattered choices leave nothing to reuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trunkline.graph.graph import Graph
from trunkline.recipe import Count, Move, NotNegative, Optimiser, Part, Phase, Schedule, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Granularity, Unit
from trunkline.supermodel.cell_steps import Mixing
from trunkline.supermodel.choice_model import LossTerm
from trunkline.supermodel.choices import Gumbel
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.searched import SearchedMethod, SearchedModel, SearchedOptions, after_warm_up
from trunkline.supermodel.temperature import Decay

SHARED, OWN, SKIPPED = 0, 1, 2
"""Numbers of the options, as in the release."""


class AutoMTLOptions(SearchedOptions):
    """What can be set about AutoMTL.

    >>> options = AutoMTLOptions(steps=(100, 400), alternate=(10, 30))
    >>> options.units, options.policy_optimiser.lr
    ('operator', 0.03)
    """

    steps: tuple[Annotated[int, Field(ge=0)], Count] = Field(
        (500, 1_500), description="steps of pre-training, 0 to leave it out, and of policy training"
    )
    alternate: tuple[Count, Count] = Field((20, 60), description="policy steps, then weight steps, in one cycle")
    policy_fraction: float = Field(0.2, gt=0, lt=1, description="share of the training data that trains the policy")
    regularization: NotNegative = Field(1e-3, description="λ_reg of the paper's Eq. 3")
    joint: bool = Field(True, description="one step on the summed loss; false: one step a task")
    pre_optimiser: Optimiser = Field(
        Optimiser(lr=1e-3, betas=(0.5, 0.999), weight_decay=1e-4), description="of the weights in pre-training"
    )
    weight_optimiser: Optimiser = Field(
        Optimiser(lr=1e-3, betas=(0.5, 0.999), weight_decay=1e-4), description="of the weights in policy training"
    )
    policy_optimiser: Optimiser = Field(Optimiser(lr=3e-2, weight_decay=5e-4), description="of the policy")
    weight_schedule: Schedule = Field(Schedule(), description="of the weights' rate in policy training")
    policy_schedule: Schedule = Field(Schedule(), description="of the policy's rate")
    units: Granularity = Field("operator", description="what is decided about: operators, as in the paper, or blocks")
    mixing: Mixing = Field("weight", description="how options are mixed; both are exact")
    batchnorm: Literal["tied", "task"] = Field("tied", description="'task' is the release's; it leaves no reuse")
    skip: bool = Field(True, description="whether skip is an option")
    prefer_shared: float = Field(0.0, description="initial logit of sharing above the others")
    straight_through: bool = Field(False, description="one-hot samples forward, soft gradients backward")
    slope: float = Field(1.0, gt=0, description="of the regularisation: 1 in the paper, 6 in the release")
    second_sample: bool = Field(False, description="regularise a second Gumbel sample, as the release does")
    temperature: Decay = Field(Decay(), description="of the Gumbel-softmax, as it falls")


class AutoMTLModel(SearchedModel):
    """The supermodel with AutoMTL's loss terms."""

    def __init__(self, space: Space, heads: Mapping[str, Graph], options: AutoMTLOptions, seed: int) -> None:
        sample = Gumbel(options.temperature, straight_through=options.straight_through)
        super().__init__(space, heads, options, {"sample": sample}, mixing=options.mixing, seed=seed)
        self.options = options
        # (L−l)/L of Eq. 2. As in the release, l counts units on the longest path, so branches side by side are equally
        # deep, and the deepest unit is not regularised at all.
        depths = torch.tensor([unit.depth for unit in space.table.units], dtype=torch.float32)
        self.register_buffer("depth_weights", (depths.max() - depths) / depths.max(), persistent=False)
        with torch.no_grad():
            for logits in self.policies:
                logits[:, SHARED] = options.prefer_shared

    depth_weights: Tensor

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term, see the module's text."""
        return {**super().loss_terms(), "regularization": lambda losses: self.regularization()}

    def regularization(self) -> Tensor:
        """Return L_reg (AutoMTL, Sec. 3.2, Eq. 2) of this step's sample."""
        # Eq. 2 has one P' for the tasks' losses and the regulariser; the release draws twice.
        purpose = "second" if self.options.second_sample else "forward"
        total = self.depth_weights.new_zeros(())
        for task, group in self.groups_of_choices.items():
            p = self.option_weights(task, purpose=purpose)
            allowed = self.allowed(task)
            for option in range(1, group.options):
                preference = F.softplus(self.options.slope * (p[:, option] - p[:, SHARED]))
                # softplus is never 0, so an option that does not exist has to be left out.
                total = total + (self.depth_weights * preference * allowed[:, option]).sum()
        return total


class AutoMTL(SearchedMethod[AutoMTLOptions]):
    """The search of AutoMTL; see the module's text."""

    name = "automtl"
    units = "operators or blocks"
    needs = "a search; then the plan is trained from scratch"
    decides = "for each unit and task: the shared weights, weights of its own, or the skip"
    yields = "a plan drawn from the learned policy, or its most likely one"
    source = "Zhang, Liu, Guan: AutoMTL (NeurIPS 2022)"
    option_names = ("shared", "own", "skip")
    Options = AutoMTLOptions

    def __init__(self, setup: Setup, options: AutoMTLOptions) -> None:
        super().__init__(setup, options)
        self.space = space_of(setup.backbone, setup.tasks, options)
        self.model = AutoMTLModel(self.space, setup.heads, options, setup.seed)

    def phases(self) -> Sequence[Phase]:
        """Return pre-training, and the alternation of policy and weights."""
        return after_warm_up(self.options.steps[0], self._pre, self._alternate())

    def _pre(self) -> Phase:
        options = self.options
        move = Move(optimiser=options.pre_optimiser, schedule=options.weight_schedule)
        turn = Turn(moves=(move,), joint=options.joint)
        return self.setup.search_phase("pre", "average", options.steps[0], [turn])

    def _alternate(self) -> Phase:
        options, cut = self.options, self.options.policy_fraction
        # Only the policy pays: both terms depend on nothing else, and would only cost time where weights learn.
        # Disjoint parts, as in the paper: no policy is judged on samples that its weights were fitted to.
        policy = Turn(
            name="policy",
            steps=options.alternate[0],
            data=Part(share=(0.0, cut)),
            moves=(Move(group="policy", optimiser=options.policy_optimiser, schedule=options.policy_schedule),),
            terms={"regularization": options.regularization, **self.options.cost_terms},
            joint=options.joint,
        )
        weights = Turn(
            name="weights",
            steps=options.alternate[1],
            data=Part(share=(cut, 1.0)),
            moves=(Move(optimiser=options.weight_optimiser, schedule=options.weight_schedule),),
            joint=options.joint,
        )
        loss_weights = self.setup.by_task(options.loss_weights)
        turns = [policy, weights]
        return self.setup.search_phase("policy", "sample", options.steps[1], turns, loss_weights=loss_weights)


def space_of(backbone: Backbone, tasks: Sequence[str], options: AutoMTLOptions) -> Space:
    """Return AutoMTL's space: the shared instance, the task's own, and the skip, at every unit (Sec. 3.1)."""

    def choices(unit: Unit, task: int) -> list[Option]:
        both = [Option(0), Option(task + 1)]
        return [*both, Option(skip=True)] if options.skip else both

    # Tied: the shared operator is one whatever its inputs are, so tasks that part before it still train it together.
    return Space.over(backbone, tasks, options.units, choices, tie=True, batchnorm=options.batchnorm)
