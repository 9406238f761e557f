"""AdaShare (Sun et al. 2020): all tasks have one set of block weights, and each learns which blocks to run.

A task that skips a block goes on with what the block adds its main path to: the block's input, or its projection. With
z = softmax((u + G)/τ) of the logits u of (run, skip), a block gives

    x ← z_run · block(x) + z_skip · shortcut(x),      L = Σ_t w_t · L_t + λ_sp · L_sparsity + λ_sh · L_sharing

1. *Warm-up*: every task runs every block.
2. *Search*: weights and logits take turns on disjoint parts of the data. Only the last blocks are decided about at
   first; the ones before them run, and join one after the other, backwards, as visits of the policy are done.
3. Some policies are drawn. Each is trained from the start, and the best on the samples that choose is delivered.

Of n blocks, l = 1 … n, paper and release state the two terms differently:

* ``sparsity``: the release has Σ_t 1/n Σ_l −log p_skip, the paper Σ_t Σ_l log p_run;
* ``sharing``: the release has Σ_{s<t} Σ_l l/n · |u_s(run) − u_t(run)|, strongest at the last block and on raw logits,
  the paper Σ_{s<t} Σ_l (n−l)/n · |p_s(run) − p_t(run)|, strongest at the first and on probabilities.

The release reports the best of eight draws on its test set; here the samples that report choose nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.recipe import Count, Move, NotNegative, Optimiser, Part, Phase, Positive, Schedule, Turn
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.choice_model import LossTerm
from trunkline.supermodel.choices import Gumbel, OneHot
from trunkline.supermodel.curriculum import Curriculum
from trunkline.supermodel.decision import Sampling, choose_several
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.retrained import best_retrained
from trunkline.supermodel.methods.searched import SearchedMethod, SearchedModel, SearchedOptions, after_warm_up
from trunkline.supermodel.temperature import Decay
from trunkline.supermodel.work import Found, Work
from trunkline.text import quoted

RUN, SKIPPED = 0, 1
"""Numbers of the options."""
Form = Literal["release", "paper"]


class AdaShareOptions(SearchedOptions):
    """What can be set about AdaShare.

    >>> options = AdaShareOptions(draws=1, alternate=(10, 40))
    >>> options.sampling.kind, options.sharing
    ('draw', 0.05)
    """

    warm_up: int = Field(500, ge=0, description="steps in which every task runs every block; 0 leaves it out")
    steps: Count = Field(2_000, description="steps of the search, of policy and weights together")
    alternate: tuple[Count, Count] | None = Field(
        None, description="policy steps, and weight steps before them, in one cycle; one pass over their data if absent"
    )
    policy_fraction: float = Field(0.2, gt=0, lt=1, description="share of the training data that trains the policy")
    curriculum: int | None = Field(
        None, ge=0, description="policy visits until one more block is decided about; 0: all at once; half the search"
    )
    sparsity: NotNegative = Field(0.05, description="λ of the term that makes blocks be skipped")
    sharing: NotNegative = Field(0.05, description="λ of the term that makes tasks decide alike")
    sparsity_form: Form = Field("release", description="whose formula it is: release, or paper")
    sharing_form: Form = Field("release", description="whose formula it is: release, or paper")
    draws: Count = Field(8, description="policies that are drawn and trained; of several, the best is delivered")
    joint: bool = Field(True, description="one step on the summed loss; false: one step a task")
    warm_up_optimiser: Optimiser = Field(
        Optimiser(lr=1e-3, betas=(0.5, 0.999), weight_decay=1e-4), description="of the weights in the warm-up"
    )
    warm_up_schedule: Schedule = Field(Schedule(), description="of the weights' rate in the warm-up")
    weight_optimiser: Optimiser = Field(
        Optimiser(kind="sgd", lr=1e-3, momentum=0.9, weight_decay=1e-4), description="of the weights in the search"
    )
    policy_optimiser: Optimiser = Field(Optimiser(lr=1e-2, weight_decay=5e-4), description="of the policy")
    weight_schedule: Schedule = Field(Schedule(), description="of the weights' rate over the search")
    temperature: Positive = Field(5.0, description="τ at the start of the search")
    temperature_decay: float = Field(0.965, gt=0, le=1, description="of τ, after every visit of the policy")
    straight_through: bool = Field(False, description="one-hot samples forward, soft gradients backward")
    sampling: Sampling = Field(
        Sampling(kind="draw"), description="how policies are drawn from what was learned, within which budget"
    )


class AdaShareModel(SearchedModel):
    """The supermodel with AdaShare's loss terms."""

    def __init__(
        self, space: Space, heads: Mapping[str, Graph], options: AdaShareOptions, curriculum: Curriculum, seed: int
    ) -> None:
        run = OneHot(dict.fromkeys(space.tasks, RUN))
        super().__init__(space, heads, options, {"run": run, "sample": curriculum}, seed=seed)
        self.options, self.curriculum = options, curriculum

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term, see the module's text."""
        own = {"sparsity": lambda losses: self.sparsity(), "sharing": lambda losses: self.sharing()}
        return {**super().loss_terms(), **own}

    def sparsity(self) -> Tensor:
        """Return L_sparsity of the blocks that are decided about."""
        log_p = torch.log_softmax(self._decided(), dim=-1)
        if self.options.sparsity_form == "paper":
            return log_p[..., RUN].sum()
        return -log_p[..., SKIPPED].mean(dim=-1).sum()

    def sharing(self) -> Tensor:
        """Return L_sharing of the blocks that are decided about, each pair of tasks once."""
        logits, count = self._decided(), len(self.policies[0])
        place = torch.arange(count - logits.shape[1] + 1, count + 1, device=logits.device)  # l, from 1
        if self.options.sharing_form == "paper":
            x, weights = torch.softmax(logits, dim=-1)[..., RUN], (count - place) / count
        else:
            x, weights = logits[..., RUN], place / count
        total = logits.new_zeros(())
        for one, other in itertools.combinations(range(len(x)), 2):
            total = total + (weights * (x[one] - x[other]).abs()).sum()
        return total

    def _decided(self) -> Tensor:
        """Return the logits of the blocks that are decided about now, ``[T, blocks, 2]``."""
        # What runs in any case is left alone: the sparsity would have taught to skip it before it was ever tried.
        number = self.curriculum.open(len(self.policies[0]), self._moment)
        return torch.stack([logits[-number:] for logits in self.policies])


class AdaShare(SearchedMethod[AdaShareOptions]):
    """The search of AdaShare; see the module's text."""

    name = "adashare"
    units = "blocks"
    needs = "a search over one set of weights; then some policies are drawn, each trained from scratch"
    decides = "for each block and task: run, or skip"
    yields = "one set of weights, of which each task runs some blocks"
    source = "Sun, Panda, Feris, Saenko: AdaShare (NeurIPS 2020)"
    trains_on = True
    option_names = ("run", "skip")
    Options = AdaShareOptions

    def __init__(self, setup: Setup, options: AdaShareOptions) -> None:
        super().__init__(setup, options)
        if options.draws > 1 and setup.phase.eval_split is None:
            advice = "set `val_fraction` above 0 under [data], or `draws = 1`"
            raise InvalidConfig("no samples are held out to choose a draw by", place="search.draws", advice=advice)
        # Tied: a block is one set of weights, whatever its input is in the column of a task.
        self.space = Space.over(setup.backbone, setup.tasks, "block", _options, tie=True)
        if not self.space.choices:
            text = f"no block of {quoted(setup.backbone.name)} can be skipped: each changes shape without a shortcut"
            raise InvalidConfig(text, place="search.method", advice="take a residual backbone, or another method")
        self.model = AdaShareModel(self.space, setup.heads, options, self._curriculum(), setup.seed)

    def phases(self) -> Sequence[Phase]:
        """Return the warm-up, and the alternation of weights and policy."""
        return after_warm_up(self.options.warm_up, self._warm_up, self._alternate())

    def find(self, work: Work) -> Found:
        """Search, draw policies, and train them."""
        steps = self.learn(work)
        setup, options, policy = self.setup, self.options, self.model.probabilities()
        sampling, draws = options.sampling, options.draws
        plans = choose_several(self.space, setup.heads, policy, sampling, self.name, setup.seed, draws)
        if len(plans) == 1:
            # There is nothing to choose: it is trained as any other plan.
            return self.found(next(iter(plans.values())), steps)
        plan, trained = best_retrained(work, plans)
        return self.found(plan, steps, trained)

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """How plans are drawn may change after the search, and how many."""
        return (*super().free(), "draws")

    def _warm_up(self) -> Phase:
        options = self.options
        move = Move(optimiser=options.warm_up_optimiser, schedule=options.warm_up_schedule)
        turn = Turn(moves=(move,), joint=options.joint)
        return self.setup.search_phase("warm-up", "run", self.options.warm_up, [turn])

    def _alternate(self) -> Phase:
        options, cut = self.options, self.options.policy_fraction
        policy_steps, weight_steps = self._turn_steps()
        own = {"sparsity": options.sparsity, "sharing": options.sharing}
        weights = Turn(
            name="weights",
            steps=weight_steps,
            data=Part(share=(cut, 1.0)),
            moves=(Move(optimiser=options.weight_optimiser, schedule=options.weight_schedule),),
            joint=options.joint,
        )
        policy = Turn(
            name="policy",
            steps=policy_steps,
            data=Part(share=(0.0, cut)),
            moves=(Move(group="policy", optimiser=options.policy_optimiser),),
            terms={**{name: weight for name, weight in own.items() if weight}, **self.options.cost_terms},
            joint=options.joint,
        )
        # Weights first, so that a finished cycle is a finished visit of the policy, by which the curriculum goes.
        loss_weights = self.setup.by_task(options.loss_weights)
        return self.setup.search_phase("search", "sample", options.steps, [weights, policy], loss_weights=loss_weights)

    def _turn_steps(self) -> tuple[int, int]:
        """Return the steps of the policy and of the weights in one cycle."""
        if self.options.alternate is not None:
            return self.options.alternate
        policy = max(1, round(self.setup.steps_an_epoch * self.options.policy_fraction))
        return policy, max(1, self.setup.steps_an_epoch - policy)

    def _curriculum(self) -> Curriculum:
        """Return the relaxation of the search.

        Raises:
            InvalidConfig: The search ends before every block has been decided about.
        """
        options = self.options
        policy_steps, weight_steps = self._turn_steps()
        cycle = policy_steps + weight_steps
        if options.steps <= weight_steps:
            text = f"the policy's first step comes after {weight_steps} steps of the weights"
            advice = "raise it, or give `alternate = [POLICY, WEIGHTS]` with fewer steps of the weights"
            raise InvalidConfig(text, place="search.steps", advice=advice)
        # The cycle of the last policy step: as many visits are finished before it.
        visits = (options.steps - weight_steps - 1) // cycle
        blocks = len({choice.place for choice in self.space.choices})
        full = visits // 2 if options.curriculum is None else options.curriculum * (blocks - 1)
        if full > visits:
            text = f"{full} visits of the policy come before all of {blocks} blocks are decided about"
            advice = f"the search has {visits + 1}: raise `steps`, lower `curriculum`, or leave it out"
            raise InvalidConfig(text, place="search.curriculum", advice=advice)
        temperature = Decay(start=options.temperature, decay=options.temperature_decay, every=cycle)
        return Curriculum(Gumbel(temperature, straight_through=options.straight_through), full, forced=RUN)


def _options(unit: Unit, task: int) -> list[Option]:
    # The stem always runs, so no task is left without anything.
    return [Option(0)] if unit.depth == 1 else [Option(0), Option(skip=True)]
