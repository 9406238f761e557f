"""BMTAS (Bruggemann et al. 2020): every task chooses, block by block, one of T instances; what results is a tree.

The search space has T parallel instances of every block. Task t mixes them by a Gumbel-softmax of its own logits
(Eq. 2), and pays for what the model will cost:

    L = Σ_t w_t · L_t + λ · E[cost]                                        (Eqs. 3, 4)

Two tasks share a block as long as they chose the same in it and in all blocks before; where they part, each goes on
with weights of its own (``tie = false``), whatever number it chooses later.

1. *Warm-up*: task t trains instance t alone, so that instances differ before anything is chosen. At equal logits the
   cost has no gradient: without it only noise would break the symmetry.
2. *Search*: logits and weights take turns on disjoint parts of the data, 20 % and 80 %, with fresh optimisers at every
   visit. Logits make one joint step on the summed loss; weights a step for each task. While logits learn, batches are
   normalised by their own statistics and the running ones stay.
3. The most likely instance of each block is taken, and the tree is trained from the start.

In the search the normalisation that a block ends in has no scale and offset of its own, so that instances compete at
equal scale. Departures from paper and release: the resource loss is exact here, for any number of tasks (Eq. 6, and the
release, count blocks as split more often than they are; ``resource = "recursion"`` is theirs); the release adds it once
for each task, so its λ counts T times; and its Adam for the weights is SGD here, as the paper has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import onnx_ir as ir
from pydantic import Field

from trunkline.graph.computed_weights import has_parameters
from trunkline.graph.graph import Graph, data_inputs_of, name_of
from trunkline.recipe import Count, Move, NotNegative, Optimiser, Part, Phase, Positive, Schedule, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.choices import Gumbel, OneHot, Relaxation
from trunkline.supermodel.expected_partitions import ExpectedPartitions
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.searched import SearchedMethod, SearchedModel, SearchedOptions, after_warm_up
from trunkline.supermodel.temperature import Linear

_SCALE, _OFFSET = 1, 2
"""Inputs of a BatchNormalization, in ONNX order."""


class BMTASOptions(SearchedOptions):
    """What can be set about BMTAS.

    >>> BMTASOptions(cost_weight=0.02).temperature
    (5.0, 0.1)
    """

    warm_up: int = Field(500, ge=0, description="steps in which each task trains its own instances; 0 leaves it out")
    steps: Count = Field(2_000, description="steps of the search, of logits and weights together")
    alternate: tuple[Count, Count] | None = Field(
        None, description="steps of the logits, then of the weights; one pass over their parts of the data if absent"
    )
    policy_fraction: float = Field(0.2, gt=0, lt=1, description="share of the training data that trains the logits")
    cost_weight: NotNegative = Field(0.1, description="λ of the expected cost, as a share of T backbones; 0 for none")
    resource: Literal["exact", "recursion"] = Field(
        "exact", description="the expected cost: exact, or the paper's Eq. 6, which is too high for three tasks or more"
    )
    policy_optimiser: Optimiser = Field(Optimiser(lr=1e-2, weight_decay=5e-5), description="of the logits")
    weight_optimiser: Optimiser = Field(
        Optimiser(kind="sgd", lr=5e-3, momentum=0.9, weight_decay=1e-4), description="of the weights"
    )
    weight_schedule: Schedule = Field(
        Schedule(kind="poly", power=0.9), description="of the weights' rate over the search"
    )
    temperature: tuple[Positive, Positive] = Field((5.0, 0.1), description="τ at the start and the end of the search")
    plain_ends: bool = Field(True, description="leave scale and offset out of the normalisation that a block ends in")


class BMTASModel(SearchedModel):
    """The supermodel with BMTAS's resource loss."""

    def __init__(self, space: Space, heads: Mapping[str, Graph], options: BMTASOptions, seed: int) -> None:
        own = OneHot({task: number for number, task in enumerate(space.tasks)})
        modes: dict[str, Relaxation] = {"own": own, "sample": Gumbel(Linear(*options.temperature))}
        frozen = plain_ends(space) if options.plain_ends else {}
        executed = ExpectedPartitions if options.resource == "recursion" else None
        super().__init__(space, heads, options, modes, executed=executed, frozen=frozen, seed=seed)


class BMTAS(SearchedMethod[BMTASOptions]):
    """The search of BMTAS; see the module's text."""

    name = "bmtas"
    units = "blocks"
    needs = "a search over one instance a task of every block; then the tree is trained from scratch"
    decides = "for each block and task: one of as many instances as there are tasks"
    yields = "a tree of branches"
    source = "Bruggemann, Kanakis, Georgoulis, Van Gool: Automated Search for Resource-Efficient Branched MTL (2020)"
    Options = BMTASOptions

    def __init__(self, setup: Setup, options: BMTASOptions) -> None:
        super().__init__(setup, options)
        # No instance is a task's own: which is taken only shows who goes together. The space is untied, since tasks
        # that have parted keep their weights apart, even where they take one number again.
        instances = [Option(number) for number in range(len(setup.tasks))]
        self.space = Space.over(setup.backbone, setup.tasks, "block", lambda unit, task: instances, tie=False)
        self.model = BMTASModel(self.space, setup.heads, options, setup.seed)
        self.option_names = tuple(f"instance {number}" for number in range(len(setup.tasks)))

    def phases(self) -> Sequence[Phase]:
        """Return the warm-up, and the alternation of logits and weights."""
        return after_warm_up(self.options.warm_up, self._warm_up, self._alternate())

    def _warm_up(self) -> Phase:
        # The paper updates weights task by task: one step for each task and batch.
        # At a constant rate: it decays over the search, and would end at 0 here just before it begins at the full one.
        turn = Turn(moves=(Move(optimiser=self.options.weight_optimiser),), joint=False)
        return self.setup.search_phase("warm-up", "own", self.options.warm_up, [turn])

    def _alternate(self) -> Phase:
        options, cut = self.options, self.options.policy_fraction
        policy_steps, weight_steps = options.alternate or self._passes()
        policy = Turn(
            name="policy",
            steps=policy_steps,
            data=Part(share=(0.0, cut)),
            moves=(Move(group="policy", optimiser=options.policy_optimiser),),
            terms=self.options.cost_terms,
            # As in the release: logits that are tried out leave no mark on the network.
            statistics="hold",
            fresh=True,
        )
        weights = Turn(
            name="weights",
            steps=weight_steps,
            data=Part(share=(cut, 1.0)),
            moves=(Move(optimiser=options.weight_optimiser, schedule=options.weight_schedule),),
            joint=False,
            fresh=True,
        )
        return self.setup.search_phase(
            "search",
            "sample",
            options.steps,
            [policy, weights],
            loss_weights=self.setup.by_task(options.loss_weights),
            # Those of the warm-up describe unmixed maps.
            reset_statistics=True,
        )

    def _passes(self) -> tuple[int, int]:
        """Return the steps in which each turn reads its part of the data once."""
        policy = max(1, round(self.setup.steps_an_epoch * self.options.policy_fraction))
        return policy, max(1, self.setup.steps_an_epoch - policy)


def plain_ends(space: Space) -> dict[str, float]:
    """Return scale and offset of the normalisations that blocks end in, held at 1 and 0."""
    frozen: dict[str, float] = {}
    for unit in space.table.units:
        for norm in _norms_at_end(unit, space.backbone):
            for position, number in ((_SCALE, 1.0), (_OFFSET, 0.0)):
                value = norm.inputs[position]
                if value is not None and value.is_initializer():  # a computed one is left as it is
                    frozen[name_of(value)] = number
    return frozen


def _norms_at_end(unit: Unit, backbone: Backbone) -> list[ir.Node]:
    """Return the normalisations of a block behind which it has no other weights."""
    found: list[ir.Node] = []
    # Not the last one in the file: a residual block with a shortcut ends in two, and in any order. One that a
    # convolution follows is no end, for that has a scale of its own.
    unscaled = {unit.output}
    for name in reversed(unit.nodes):
        node = backbone.nodes[name]
        if unscaled.isdisjoint(map(name_of, node.outputs)):
            continue
        if node.op_type == "BatchNormalization":
            found.append(node)
        elif not has_parameters(node):
            unscaled.update(map(name_of, data_inputs_of(node)))
    return found
