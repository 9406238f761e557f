"""Learn-to-Branch (Guo et al. 2020): every node of a layer chooses its parent in the layer before, so a tree results.

A layer is a block, and its nodes are T instances of it. Node j of layer l+1 reads one node i of layer l:

    d_j ~ Categorical(softmax(θ_j)),        x_j = Σ_i d_ji · y_i

and the heads of the T tasks choose among the nodes of the last layer. A sample is one-hot on the way forward and
softmax((G + log π)/τ) on the way back (straight-through Gumbel-softmax). The choice belongs to the node, not to a task
as in BMTAS: whatever comes by a node goes on to the same parent, so ways that have met stay together to the root.

1. *Warm-up*: every node reads the mean of all nodes before it, and only weights learn. Nodes start from the same
   weights, so they stay alike here, and what is trained is one network that all tasks share; the first samples part
   them.
2. *Search*: weights and logits learn in the same steps with the same optimiser, while τ falls with the square root of
   the steps.
3. Each head's most likely parent is taken, the parent's, and so on to the root. Nodes that no head comes by are
   dropped, and the tree is trained from the start.

Departures: no code was published, and the paper was not at hand, so what is said of it is recalled or read in those who
compare with it; numbers are LibMTL's where it has them. There the warm-up adds all nodes up where we take their mean,
an evaluation draws a new tree each time, and no tree is ever taken. A cost term is offered as for every search; the
method has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from trunkline.recipe import Count, Move, Optimiser, Phase, Positive, Schedule, Turn
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choices import Gumbel
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.searched import SearchedMethod, SearchedModel, SearchedOptions, after_warm_up
from trunkline.supermodel.temperature import SquareRoot


class LearnToBranchOptions(SearchedOptions):
    """What can be set about Learn-to-Branch.

    >>> LearnToBranchOptions(warm_up=0).temperature
    (10.0, 0.7)
    """

    warm_up: int = Field(200, ge=0, description="steps in which every node reads the mean of all; 0 leaves it out")
    steps: Count = Field(2_000, description="steps of the search, in which weights and logits learn together")
    optimiser: Optimiser = Field(Optimiser(), description="of weights and logits alike")
    schedule: Schedule = Field(Schedule(), description="of the rate of both")
    rate_factor: Positive = Field(1.0, description="how many times as fast as weights logits learn; 1 is LibMTL's")
    temperature: tuple[Positive, Positive] = Field(
        (10.0, 0.7), description="τ at the start and the end of the search; LibMTL's at its 200 epochs"
    )
    straight_through: bool = Field(True, description="one-hot samples forward, soft gradients backward")


class LearnToBranch(SearchedMethod[LearnToBranchOptions]):
    """The search of Learn-to-Branch; see the module's text."""

    name = "learn-to-branch"
    units = "blocks"
    needs = "a search over the parents of every block's nodes; then the tree is trained from scratch"
    decides = "for each node of a block: which node of the block before it reads"
    yields = "a tree of branches"
    source = "Guo, Lee, Ulbricht: Learning to Branch for Multi-Task Learning (ICML 2020)"
    Options = LearnToBranchOptions

    def __init__(self, setup: Setup, options: LearnToBranchOptions) -> None:
        super().__init__(setup, options)
        nodes = [Option(number) for number in range(len(setup.tasks))]
        self.space = Space.over(
            setup.backbone, setup.tasks, "block", lambda unit, task: nodes, tie=False, chosen_by="node"
        )
        sample = Gumbel(SquareRoot(*options.temperature), straight_through=options.straight_through)
        self.model = SearchedModel(self.space, setup.heads, options, {"sample": sample}, seed=setup.seed)
        self.option_names = tuple(f"node {number}" for number in range(len(setup.tasks)))

    def phases(self) -> Sequence[Phase]:
        """Return the warm-up, and the search."""
        return after_warm_up(self.options.warm_up, self._warm_up, self._search())

    def _warm_up(self) -> Phase:
        # At a constant rate: a schedule decays over the search.
        turn = Turn(moves=(Move(optimiser=self.options.optimiser),))
        return self.setup.search_phase("warm-up", "average", self.options.warm_up, [turn])

    def _search(self) -> Phase:
        options = self.options
        faster = options.optimiser.faster(options.rate_factor)
        moves = [
            Move(group="weights", optimiser=options.optimiser, schedule=options.schedule),
            Move(group="policy", optimiser=faster, schedule=options.schedule),
        ]
        return self.setup.search_phase(
            "search",
            "sample",
            options.steps,
            [Turn(moves=tuple(moves), terms=self.options.cost_terms)],
            loss_weights=self.setup.by_task(options.loss_weights),
        )
